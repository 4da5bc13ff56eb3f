"""WebSockets for stdin and terminals.

::

    client                                         gateway
      {"argv": …, "stdin": true, …}       ──►                              first message (terminal only)
                                          ◄──   {"execution": {…}}
      binary: stdin                       ──►
                                          ◄──   {"ack": <bytes of stdin that the guest took>}
      {"eof": true}                       ──►                              after the last stdin
      {"signal": 2} · {"resize": {"rows": 24, "columns": 80}} · {"kill": true}   ──►
                                          ◄──   binary: stream (1: stdout, 2: stderr), offset (8 bytes,
                                                big-endian), data
                                          ◄──   {"result": {…}}  or  {"error": problem}; then it is closed

The client keeps at most WINDOW messages of stdin unacknowledged; so a program that does not read holds up
stdin only, and signals still pass. Leaving a terminal without a result hangs it up: SIGHUP, as a line would.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any

from fastapi import Query
from pydantic import TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from aetherium.domain.errors import AetheriumError, InvalidInput, Unavailable
from aetherium.domain.executions import Execution, ExecutionSpec, TerminalSize
from aetherium.domain.guest import OutputStream
from aetherium.gateway import problems, wire
from aetherium.gateway.connections import cut
from aetherium.gateway.platform import DrainDep, Platform, PlatformDep
from aetherium.gateway.rest import bodies
from aetherium.gateway.rest.part import Part
from aetherium.gateway.streams import Drain, Stalled, error_document, in_time
from aetherium.interfaces.guest import Attachment

router = Part(tags=["executions"])

WINDOW = 8
SIGHUP = 1
_TAGS = {OutputStream.STDOUT: b"\1", OutputStream.STDERR: b"\2"}
_SPEC: TypeAdapter[ExecutionSpec] = TypeAdapter(bodies.ExecutionBody)
_SIZE: TypeAdapter[TerminalSize] = TypeAdapter(bodies.SizeBody)

Source = Callable[[], AbstractAsyncContextManager[tuple[Execution, Attachment]]]
Offset = Annotated[int, Query(ge=0)]


@router.websocket("/vms/{ref}/terminal")
async def terminal(socket: WebSocket, ref: str, platform: PlatformDep, drain: DrainDep) -> None:
    """Run a command with stdin, or in a terminal."""
    await socket.accept()

    @asynccontextmanager
    async def source() -> AsyncIterator[tuple[Execution, Attachment]]:
        spec = _parse(_SPEC, await socket.receive_text())
        async with platform.executions.launch(ref, spec) as (execution, attachment):
            try:
                yield execution, attachment
            except BaseException:
                if spec.terminal is not None:
                    await _hang_up(platform, execution.id)
                raise

    await _serve(socket, platform, drain, source)


@router.websocket("/executions/{execution_id}/attach")
async def attach(
    socket: WebSocket,
    execution_id: str,
    platform: PlatformDep,
    drain: DrainDep,
    stdout_offset: Offset = 0,
    stderr_offset: Offset = 0,
) -> None:
    """Follow an execution from these offsets on, and write to its stdin."""
    await socket.accept()

    @asynccontextmanager
    async def source() -> AsyncIterator[tuple[Execution, Attachment]]:
        execution = await platform.executions.get(execution_id)
        async with platform.executions.interact(
            execution_id, stdout_offset=stdout_offset, stderr_offset=stderr_offset
        ) as attachment:
            yield execution, attachment

    await _serve(socket, platform, drain, source)


async def _hang_up(platform: Platform, execution_id: str) -> None:
    try:
        await platform.executions.signal(execution_id, SIGHUP)
    except AetheriumError:
        return  # it has ended by itself meanwhile, or its VM has


def _parse(adapter: TypeAdapter[Any], text: str | bytes | Any) -> Any:
    try:
        if isinstance(text, str | bytes):
            return adapter.validate_json(text)
        return adapter.validate_python(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "message"
        raise InvalidInput(f"{where}: {first['msg']}.") from error


async def _serve(socket: WebSocket, platform: Platform, drain: Drain, source: Source) -> None:
    """One session, from the accepted socket to its closing."""
    last: dict[str, Any]
    try:
        async with drain.stream(), source() as (execution, attachment):
            await _say(socket, {"execution": wire.dump(execution)})
            last = {"result": await _Session(socket, platform, execution, attachment).run()}
    except Exception as raised:  # the boundary of a session: told to the client, or to the log
        leaves = tuple(problems.leaves(raised))
        if any(isinstance(leaf, WebSocketDisconnect) for leaf in leaves):
            return
        if any(isinstance(leaf, Stalled) for leaf in leaves):
            await cut(socket.scope, socket.receive)
            return
        last = {"error": error_document(_foreseen(raised, drain))}
    try:
        await _say(socket, last)
        await socket.close()
    except (WebSocketDisconnect, RuntimeError, Stalled):
        return  # the client went away at the same moment


async def _say(socket: WebSocket, message: dict[str, Any]) -> None:
    await in_time(socket.send_text(json.dumps(message)))


def _foreseen(raised: Exception, drain: Drain) -> BaseException:
    if drain.draining and any(isinstance(leaf, TimeoutError) for leaf in problems.leaves(raised)):
        return Unavailable("The gateway is shutting down.", hint="Attach again later.")
    return problems.as_domain_error(raised) or next(problems.leaves(raised))


class _Session:
    """Moves output out, stdin and control messages in, until the execution has ended."""

    def __init__(
        self, socket: WebSocket, platform: Platform, execution: Execution, attachment: Attachment
    ) -> None:
        self._socket = socket
        self._executions = platform.executions
        self._id = execution.id
        self._attachment = attachment
        self._stdin: asyncio.Queue[bytes | None] = asyncio.Queue(WINDOW)

    async def run(self) -> Any:
        """The result as JSON types."""
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(self._receive()), group.create_task(self._feed())]
            async for chunk in self._attachment:
                head = _TAGS[chunk.stream] + chunk.offset.to_bytes(8)
                await in_time(self._socket.send_bytes(head + chunk.data))
            result = await self._attachment.result()
            for task in helpers:
                task.cancel()
        return wire.dump(result)

    async def _receive(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1006))
            if (data := message.get("bytes")) is not None:
                self._put(data)
            elif (text := message.get("text")) is not None:
                await self._control(text)

    def _put(self, data: bytes | None) -> None:
        try:
            self._stdin.put_nowait(data)
        except asyncio.QueueFull:
            raise InvalidInput(
                f"More than {WINDOW} messages of stdin are unacknowledged.",
                hint="Wait for acknowledgements before sending more.",
            ) from None

    async def _control(self, text: str) -> None:
        try:
            message = json.loads(text)
        except ValueError as error:
            raise InvalidInput(f"A control message is no JSON: {error}.") from error
        match message:
            case {"eof": True}:
                self._put(None)
            case {"signal": int(number)}:
                await self._executions.signal(self._id, number)
            case {"kill": True}:
                await self._executions.kill(self._id)
            case {"resize": dict(size)}:
                await self._executions.resize(self._id, _parse(_SIZE, size))
            case _:
                raise InvalidInput(
                    f"Unknown control message {text[:80]!r}.", hint="Use eof, signal, kill or resize."
                )

    async def _feed(self) -> None:
        while (data := await self._stdin.get()) is not None:
            try:
                await self._attachment.write_stdin(data)
            except AetheriumError:
                await self._discard()  # it closed its stdin, or has ended: what comes now goes nowhere
                return
            await _say(self._socket, {"ack": len(data)})
        await self._attachment.close_stdin()

    async def _discard(self) -> None:
        while (data := await self._stdin.get()) is not None:
            await _say(self._socket, {"ack": len(data)})
