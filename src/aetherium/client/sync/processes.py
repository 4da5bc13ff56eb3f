"""Commands that run in the background; see aetherium.client.processes."""

from __future__ import annotations

from collections.abc import Iterator

from aetherium.client import processes
from aetherium.client.bound import fill
from aetherium.client.sync.loop import Loop
from aetherium.client.sync.streams import chunks
from aetherium.domain.executions import Execution
from aetherium.domain.guest import OutputChunk


class Process(Execution):
    """An execution, and what can be done with it; its fields are what it was when it was asked for."""

    __slots__ = ("_inner", "_loop")
    _inner: processes.Process
    _loop: Loop

    def __init__(self, inner: processes.Process, loop: Loop) -> None:
        fill(self, inner, _inner=inner, _loop=loop)

    def wait(self) -> Process:
        """The same, at its end: with its `result`."""
        return Process(self._loop.run(self._inner.wait()), self._loop)

    def output(self, *, stdout_offset: int = 0, stderr_offset: int = 0) -> Iterator[OutputChunk]:
        """What it has written from these offsets on, then live, to its end."""
        output = self._inner.output(stdout_offset=stdout_offset, stderr_offset=stderr_offset)
        return self._loop.iterate(chunks(output))

    def signal(self, signal: int) -> None:
        """Send a signal to its process group."""
        self._loop.run(self._inner.signal(signal))

    def kill(self) -> None:
        """Kill everything that it has started."""
        self._loop.run(self._inner.kill())
