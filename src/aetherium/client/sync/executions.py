"""Executions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aetherium.client.sync.loop import Part
from aetherium.client.sync.streams import chunks
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
        output = self._client.executions.follow(
            execution_id, stdout_offset=stdout_offset, stderr_offset=stderr_offset
        )
        return self._loop.iterate(chunks(output))

    def list(self, vm: str) -> Sequence[Execution]:
        """The executions of a VM, newest first."""
        return self._loop.run(self._client.executions.list(vm))

    def iterate(self, vm: str) -> Iterator[Execution]:
        """The same as `list`, page by page."""
        return self._loop.each(self._client.executions.iterate(vm))

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
