"""Executions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from aetherium.client.aio import AsyncClient
from aetherium.client.sync.loop import Part
from aetherium.domain.executions import Execution, ExecutionSpec
from aetherium.domain.guest import OutputChunk


class Executions(Part):
    """``client.executions``; see aetherium.client.executions."""

    def run(self, vm: str, spec: ExecutionSpec) -> tuple[Execution, bytes, bytes]:
        """Run a command to its end."""
        return self._loop.run(self._client.executions.run(vm, spec))

    def start(self, vm: str, spec: ExecutionSpec) -> Execution:
        """Start a command in the background."""
        return self._loop.run(self._client.executions.start(vm, spec))

    def follow(
        self, execution_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> Iterator[OutputChunk]:
        """Its output from these offsets on, to its end."""
        return self._loop.iterate(_Follow(self._client, execution_id, stdout_offset, stderr_offset))

    def list(self, vm: str) -> Sequence[Execution]:
        """The executions of a VM, newest first."""
        return self._loop.run(self._client.executions.list(vm))

    def get(self, execution_id: str) -> Execution:
        """One execution."""
        return self._loop.run(self._client.executions.get(execution_id))

    def wait(self, execution_id: str) -> Execution:
        """One execution, at its end."""
        return self._loop.run(self._client.executions.wait(execution_id))

    def signal(self, execution_id: str, signal: int) -> None:
        """Send a signal to its process group."""
        self._loop.run(self._client.executions.signal(execution_id, signal))

    def kill(self, execution_id: str) -> None:
        """Kill everything that it has started."""
        self._loop.run(self._client.executions.kill(execution_id))


class _Follow(AbstractAsyncContextManager[AsyncIterator[OutputChunk]]):
    """An execution's output as a stream of chunks."""

    def __init__(self, client: AsyncClient, execution_id: str, stdout: int, stderr: int) -> None:
        self._inner = client.executions.follow(execution_id, stdout_offset=stdout, stderr_offset=stderr)

    async def __aenter__(self) -> AsyncIterator[OutputChunk]:
        return aiter(await self._inner.__aenter__())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._inner.__aexit__(kind, error, traceback)
