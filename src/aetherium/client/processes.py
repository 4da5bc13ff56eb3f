"""Commands that run in the background."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from aetherium.client.bound import fill
from aetherium.client.executions import Executions, Output
from aetherium.domain.executions import Execution

if TYPE_CHECKING:
    from aetherium.client.interactive import Session


class Process(Execution):
    """An execution, and what can be done with it; its fields are what it was when it was asked for."""

    __slots__ = ("_executions",)
    _executions: Executions

    def __init__(self, record: Execution, executions: Executions) -> None:
        fill(self, record, _executions=executions)

    async def wait(self) -> Process:
        """The same, at its end: with its `result`."""
        return Process(await self._executions.wait(self.id), self._executions)

    def output(
        self, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AbstractAsyncContextManager[Output]:
        """What it has written from these offsets on, then live, to its end."""
        return self._executions.follow(self.id, stdout_offset=stdout_offset, stderr_offset=stderr_offset)

    def attach(self) -> AbstractAsyncContextManager[Session]:
        """Take part in it: read what it writes, write to its stdin or terminal."""
        return self._executions.attach(self.id)

    async def signal(self, signal: int) -> None:
        """Send a signal to its process group."""
        await self._executions.signal(self.id, signal)

    async def kill(self) -> None:
        """Kill everything that it has started."""
        await self._executions.kill(self.id)
