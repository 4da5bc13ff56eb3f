"""The contract of a Guest, over any transport to any agent: a subclass overrides `endpoints` only."""

from __future__ import annotations

from tests.contract.guest.archives import ArchiveContract
from tests.contract.guest.cuts import CutContract, LoadContract
from tests.contract.guest.executions import ExecutionContract
from tests.contract.guest.files import FileContract, WatchContract
from tests.contract.guest.identity import IdentityContract
from tests.contract.guest.stdin import StdinContract, TerminalContract


class GuestContract(
    ExecutionContract,
    StdinContract,
    TerminalContract,
    CutContract,
    LoadContract,
    FileContract,
    WatchContract,
    ArchiveContract,
    IdentityContract,
):
    """All of it."""
