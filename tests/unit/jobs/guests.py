"""Guests for the tests of jobs: the real agent as a process, and one that sends what it likes."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from aetherium.channel.connector import Connector
from aetherium.domain.guest import UnixEndpoint
from aetherium.interfaces.guest import Guest
from aetherium.process import spawned


@asynccontextmanager
async def agent(directory: Path) -> AsyncIterator[Guest]:
    """An agent that runs as this user, with a connection to it."""
    argv = [sys.executable, "-m", "aetherium.guest", "--listen", "unix:agent.sock", "--cgroup", "none"]
    async with spawned(argv, cwd=directory):
        guest = await Connector().connect([UnixEndpoint(str(directory / "agent.sock"))], timeout_s=20)
        try:
            yield guest
        finally:
            await guest.close()


class LyingGuest:
    """Its archives are whatever it was given."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def archive_out(
        self, path: str, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> AsyncIterator[bytes]:
        for at in range(0, len(self._data), 4096):
            yield self._data[at : at + 4096]


def lying(data: bytes) -> Guest:
    """A guest that answers every request for files with `data`."""
    return cast(Guest, LyingGuest(data))
