"""Executions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from aetherium.client import values
from aetherium.client.paging import iterate
from aetherium.client.resuming import Lines, resuming
from aetherium.client.transport import Transport, quoted
from aetherium.domain.errors import ChannelClosed
from aetherium.domain.executions import Execution, ExecutionResult, ExecutionSpec, TerminalSize
from aetherium.domain.guest import OutputChunk, OutputStream

if TYPE_CHECKING:
    from aetherium.client.interactive import Session


class Output:
    """An execution's output. Iterate to the end; then `result` is set.

    A connection that is cut is taken up again where it was; the execution does not notice.
    """

    def __init__(self, lines: Lines, execution: Execution | None, ends: dict[OutputStream, int]) -> None:
        self._lines = lines
        self._ends = ends
        self.execution = execution
        self.result: ExecutionResult | None = None

    async def __aiter__(self) -> AsyncIterator[OutputChunk]:
        async for line in self._lines:
            if "result" in line:
                self.result = values.load(ExecutionResult, line["result"])
                return
            chunk = OutputChunk(OutputStream(line["stream"]), line["offset"], values.load_bytes(line))
            self._ends[chunk.stream] = chunk.offset + len(chunk.data)
            yield chunk
        raise ChannelClosed("The gateway ended the output without a result.", hint="Attach again.")


class Executions:
    """``client.executions``. `vm` is a VM's id, name, or unique prefix of an id."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def run(self, vm: str, spec: ExecutionSpec) -> tuple[Execution, bytes, bytes]:
        """Run a command to its end: the execution, stdout, stderr."""
        path, key = f"/v1/vms/{quoted(vm)}/executions", values.new_key()
        answer = await self._http.call("POST", path, body=values.dump(spec), key=key)
        return (
            values.load(Execution, answer["execution"]),
            values.load_bytes(answer["stdout"]),
            values.load_bytes(answer["stderr"]),
        )

    async def start(self, vm: str, spec: ExecutionSpec) -> Execution:
        """Start a command in the background."""
        return values.load(
            Execution,
            await self._http.call(
                "POST",
                f"/v1/vms/{quoted(vm)}/executions",
                params={"mode": "background"},
                body=values.dump(spec),
                key=values.new_key(),
            ),
        )

    @asynccontextmanager
    async def stream(self, vm: str, spec: ExecutionSpec) -> AsyncIterator[Output]:
        """Run a command and follow its output. Leaving early does not end it."""
        path, ends = f"/v1/vms/{quoted(vm)}/executions", _from(0, 0)
        begun: list[Execution] = []

        @asynccontextmanager
        async def begin() -> AsyncIterator[Lines]:
            async with self._http.lines(
                "POST", path, params={"mode": "stream"}, body=values.dump(spec), key=values.new_key()
            ) as lines:
                begun.append(values.load(Execution, (await anext(lines))["execution"]))
                yield lines

        def again() -> AbstractAsyncContextManager[Lines]:
            return self._output(begun[0].id, ends)

        async with resuming(self._http.retry, again, first=begin) as lines:
            yield Output(lines, begun[0], ends)

    @asynccontextmanager
    async def follow(
        self, execution_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AsyncIterator[Output]:
        """Follow the output of an execution from these offsets on."""
        ends = _from(stdout_offset, stderr_offset)
        async with resuming(self._http.retry, lambda: self._output(execution_id, ends)) as lines:
            yield Output(lines, None, ends)

    def _output(self, execution_id: str, ends: dict[OutputStream, int]) -> AbstractAsyncContextManager[Lines]:
        params = {f"{stream}_offset": end for stream, end in ends.items()}
        return self._http.lines("GET", f"/v1/executions/{quoted(execution_id)}/output", params=params)

    def interactive(self, vm: str, spec: ExecutionSpec) -> AbstractAsyncContextManager[Session]:
        """Run a command with stdin (`spec.stdin`) or in a terminal (`spec.terminal`)."""
        return self._connect(f"/v1/vms/{quoted(vm)}/terminal", values.dump(spec))

    def attach(
        self, execution_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AbstractAsyncContextManager[Session]:
        """Take part in an execution that runs."""
        query = f"?stdout_offset={stdout_offset}&stderr_offset={stderr_offset}"
        return self._connect(f"/v1/executions/{quoted(execution_id)}/attach{query}")

    def _connect(self, path: str, first: Any = None) -> AbstractAsyncContextManager[Session]:
        # Late: WebSockets are a third of the import time of this package, and most calls need none.
        from aetherium.client.interactive import connect

        return connect(self._http.gateway, path, first)

    async def list(self, vm: str) -> Sequence[Execution]:
        """The executions of a VM, newest first."""
        return [execution async for execution in self.iterate(vm)]

    def iterate(self, vm: str) -> AsyncIterator[Execution]:
        """The same as `list`, page by page."""
        return iterate(self._http, f"/v1/vms/{quoted(vm)}/executions", Execution)

    async def get(self, execution_id: str) -> Execution:
        """One execution."""
        return await self._get(execution_id, wait=False)

    async def wait(self, execution_id: str) -> Execution:
        """One execution, at its end."""
        return await self._get(execution_id, wait=True)

    async def _get(self, execution_id: str, *, wait: bool) -> Execution:
        found = await self._http.call(
            "GET", f"/v1/executions/{quoted(execution_id)}", params={"wait": "true" if wait else None}
        )
        return values.load(Execution, found)

    async def signal(self, execution_id: str, signal: int) -> None:
        """Send a signal to its process group."""
        await self._http.call(
            "POST", f"/v1/executions/{quoted(execution_id)}/signal", body={"signal": signal}
        )

    async def kill(self, execution_id: str) -> None:
        """Kill everything that it has started."""
        await self._http.call("POST", f"/v1/executions/{quoted(execution_id)}/kill")

    async def resize(self, execution_id: str, size: TerminalSize) -> None:
        """Change the size of its terminal."""
        await self._http.call("POST", f"/v1/executions/{quoted(execution_id)}/resize", body=values.dump(size))


def _from(stdout: int, stderr: int) -> dict[OutputStream, int]:
    return {OutputStream.STDOUT: stdout, OutputStream.STDERR: stderr}
