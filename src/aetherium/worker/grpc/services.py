"""What the server stands on: the services of this worker, as `bootstrap.Platform` brings them."""

from __future__ import annotations

from typing import Protocol

from aetherium.services.executions import ExecutionService
from aetherium.services.snapshots import SnapshotService
from aetherium.services.vms import VMService


class Services(Protocol):
    """The services of one worker."""

    @property
    def vms(self) -> VMService: ...
    @property
    def executions(self) -> ExecutionService: ...
    @property
    def snapshots(self) -> SnapshotService: ...
