"""Following an execution: its output one way, stdin and controls the other way.

A client that keeps at most STDIN_WINDOW bytes of stdin unacknowledged can always send controls, whether the
program reads or not; one that sends more is held up by gRPC's flow control. Leaving a terminal without a
result hangs it up: SIGHUP, as a line would.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from aetherium.domain.errors import AetheriumError, InvalidInput
from aetherium.domain.executions import Execution
from aetherium.gateway.access import Platform
from aetherium.interfaces.guest import Attachment
from aetherium.protocol.generated import executions_pb2 as pb
from aetherium.rpc import convert
from aetherium.rpc.changes import Changes
from aetherium.rpc.options import STDIN_WINDOW

Request = pb.ExecutionServiceAttachRequest
Response = pb.ExecutionServiceAttachResponse

# What it takes to give a command stdin, and to end that.
_WRITE = "executions:write"
_SIGHUP = 1


async def opened(requests: AsyncIterator[Request]) -> pb.AttachOpen:
    """The first request. Raises InvalidInput."""
    async for request in requests:
        if request.HasField("open") and request.open.WhichOneof("what") is not None:
            return request.open
        break
    raise InvalidInput("The first request has to say what is started or followed.", field="open")


@asynccontextmanager
async def source(platform: Platform, first: pb.AttachOpen) -> AsyncIterator[tuple[Execution, Attachment]]:
    """The execution that the first request means, begun if need be."""
    if first.HasField("start"):
        spec = convert.spec_from_pb(first.start.spec)
        async with platform.executions.launch(first.start.vm, spec) as (execution, attachment):
            try:
                yield execution, attachment
            except BaseException:
                if spec.terminal is not None:
                    await _hang_up(platform, execution.id)
                raise
        return
    execution = await platform.executions.get(first.execution_id)
    # Who may only read follows all the same; its end is none of the command's stdin.
    writes = platform.caller.may(_WRITE)
    follow = platform.executions.interact if writes else platform.executions.attach
    async with follow(
        execution.id, stdout_offset=first.stdout_offset, stderr_offset=first.stderr_offset
    ) as attachment:
        yield execution, attachment


async def _hang_up(platform: Platform, execution_id: str) -> None:
    try:
        await platform.executions.signal(execution_id, _SIGHUP)
    except AetheriumError:
        return  # it has ended by itself meanwhile, or its VM has


class Session:
    """One call, from the moment that the execution runs."""

    def __init__(self, platform: Platform, execution_id: str, attachment: Attachment) -> None:
        self._caller = platform.caller
        self._executions = platform.executions
        self._id = execution_id
        self._attachment = attachment
        # One: gRPC's flow control holds up who reads the output, and with it the command.
        self._out: asyncio.Queue[Response | Exception | None] = asyncio.Queue(1)
        self._stdin: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._received = self._taken = 0
        self._changes = Changes()

    async def responses(self, requests: AsyncIterator[Request]) -> AsyncGenerator[Response, None]:
        """All that the client is told, to the result."""
        running = asyncio.ensure_future(self._run(requests))
        try:
            while (response := await self._out.get()) is not None:
                if isinstance(response, Exception):
                    raise response
                yield response
        finally:
            running.cancel()
            await asyncio.wait({running})

    async def _run(self, requests: AsyncIterator[Request]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._receive(requests)), group.create_task(self._feed())]
                async for chunk in self._attachment:
                    await self._out.put(Response(output=convert.chunk_to_pb(chunk)))
                result = await self._attachment.result()
                await self._out.put(Response(result=convert.result_to_pb(result)))
                for task in helpers:
                    task.cancel()
        except Exception as error:  # the boundary of a task: told to the client by who reads the queue
            await self._out.put(error)
        else:
            await self._out.put(None)

    async def _receive(self, requests: AsyncIterator[Request]) -> None:
        async for request in requests:
            match request.WhichOneof("request"):
                case "stdin":
                    await self._take(request.stdin)
                case "stdin_end":
                    self._caller.require(_WRITE)
                    break
                case "signal":
                    await self._executions.signal(self._id, request.signal)
                case "kill":
                    await self._executions.kill(self._id)
                case "resize":
                    await self._executions.resize(self._id, convert.size_from_pb(request.resize))
                case _:
                    raise InvalidInput("Only the first request says what is followed.", field="open")
        self._stdin.put_nowait(None)

    async def _take(self, data: bytes) -> None:
        self._caller.require(_WRITE)
        self._received += len(data)
        self._stdin.put_nowait(data)
        await self._changes.until(lambda: self._received - self._taken <= STDIN_WINDOW)

    async def _feed(self) -> None:
        closed = False
        while (data := await self._stdin.get()) is not None:
            try:
                if not closed:
                    await self._attachment.write_stdin(data)
            except AetheriumError:
                closed = True  # it closed its stdin, or has ended: what comes now goes nowhere
            self._taken += len(data)
            self._changes.tell()
            await self._out.put(Response(stdin_ack=self._taken))
        if not closed and self._caller.may(_WRITE):
            await self._attachment.close_stdin()
