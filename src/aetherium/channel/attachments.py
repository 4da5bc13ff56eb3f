"""Following an execution from the host: output without gap or repeat, across lost connections."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aetherium.channel.connection import Connection
from aetherium.channel.stdin import StdinLog
from aetherium.channel.streams import SEND_CHUNK, Item, Stream, decoded
from aetherium.domain.errors import ChannelClosed, ProtocolViolation
from aetherium.domain.executions import ExecutionResult
from aetherium.domain.guest import OutputChunk, OutputStream
from aetherium.protocol import frames as f
from aetherium.protocol.values import result_from_wire

WINDOW = 256 * 1024
# Output that came while only the result was waited for is kept up to this much, for whoever iterates later.
KEPT_UNREAD = 1 << 20
_STREAMS = (OutputStream.STDOUT, OutputStream.STDERR)


class GuestAttachment:
    """An Attachment (see interfaces/guest.py).

    Args:
        connected: gives a living connection, or raises ChannelClosed.
        method, params: the request that follows the execution; it is repeated after a lost connection, with
            the offsets reached, so it has to be idempotent.
    """

    def __init__(
        self,
        connected: Callable[[], Awaitable[Connection]],
        method: str,
        params: dict[str, Any],
        *,
        stdout_offset: int = 0,
        stderr_offset: int = 0,
    ) -> None:
        self._connected = connected
        self._method = method
        self._params = params | {"token": os.urandom(8)}
        self._reached = [stdout_offset, stderr_offset]
        self._stream: Stream | None = None
        self._detached = False
        self._lock = asyncio.Lock()
        self._result: ExecutionResult | None = None
        self._iterators = 0
        self._turn = asyncio.Event()
        self._unread: deque[OutputChunk] = deque()
        self._unread_bytes = 0
        self._stdin = StdinLog(len(params.get("input", b"")), ended=bool(params.get("eof")))
        self._stdin_lock = asyncio.Lock()

    # -- life

    async def begin(self) -> None:
        """Send the request for the first time."""
        self._stdin.begin(await self.open())

    async def open(self) -> Stream:
        """Send the request, with the offsets reached. Raises ChannelClosed."""
        if self._detached:
            raise ChannelClosed("The execution is not followed any more.")
        connection = await self._connected()
        params = self._params | {"stdout": self._reached[0], "stderr": self._reached[1]}
        stream = connection.open(self._method, params, window=WINDOW, on_credit=self._stdin.consumed)
        self._stream = stream
        return stream

    async def confirmed(self) -> None:
        """Wait until the agent follows. Raises GuestError (ENOENT) if there is no such execution."""
        self._keep(await self._next())

    def close(self) -> None:
        """Detach."""
        self._detached = True
        if self._stream is not None:
            self._stream.close()

    # -- output

    async def __aiter__(self) -> AsyncIterator[OutputChunk]:
        self._iterators += 1
        try:
            while True:
                chunk = self._take() or await self._next()
                if chunk is None and self._result is not None and not self._unread:
                    return
                if chunk is not None and chunk.data:
                    yield chunk
        finally:
            self._iterators -= 1
            self._turn.set()

    async def result(self) -> ExecutionResult:
        """Wait for the end."""
        while self._result is None:
            if self._iterators:
                self._turn.clear()
                await self._turn.wait()
                continue
            self._keep(await self._next())
        return self._result

    # -- stdin

    async def write_stdin(self, data: bytes) -> None:
        """Send `data`; waits while the guest does not read (flow control)."""
        async with self._stdin_lock:
            for at in range(0, len(data), SEND_CHUNK):
                self._stdin.append(data[at : at + SEND_CHUNK])
                while self._stdin.pending:
                    stream = await self._sendable()
                    try:
                        await self._stdin.flush(stream)
                    except ChannelClosed:
                        continue  # what was not taken is in the log, and goes out on the next stream

    async def close_stdin(self) -> None:
        """Send end of file."""
        async with self._stdin_lock:
            await self._sendable()
            self._stdin.end()

    async def _sendable(self) -> Stream:
        """A stream on which stdin may go on: after a lost connection the agent first says how far it came."""
        while True:
            stream = self._stdin.stream
            if stream is not None and (self._result is not None or not stream.failed):
                return stream
            async with self._lock:
                # Somebody else may have read what this waits for, while they held the lock.
                if self._stdin.stream is stream:
                    self._keep(await self._step())

    def _keep(self, chunk: OutputChunk | None) -> None:
        if chunk is None:
            return
        self._unread.append(chunk)
        self._unread_bytes += len(chunk.data)
        while self._unread_bytes > KEPT_UNREAD:
            self._unread_bytes -= len(self._unread.popleft().data)

    def _take(self) -> OutputChunk | None:
        if not self._unread:
            return None
        chunk = self._unread.popleft()
        self._unread_bytes -= len(chunk.data)
        return chunk

    async def _next(self) -> OutputChunk | None:
        """The next piece of output; None when something else came (the result, or an event)."""
        async with self._lock:
            return await self._step()

    async def _step(self) -> OutputChunk | None:
        """With the lock held: take what comes next, and go on with a new stream when this one is lost."""
        if self._result is not None:
            return None
        stream = self._stream
        if stream is None:
            await self.open()
            return None
        try:
            item = await stream.next()
            if item is None:
                self._result = result_from_wire(await stream.answer())
        except ChannelClosed:
            self._stream = None
            self._stdin.lost()
            return None
        if item is not None:
            return self._chunk(item, stream)
        self._turn.set()
        return None

    def _chunk(self, item: Item, stream: Stream) -> OutputChunk | None:
        if item.kind == f.EVENT:
            value = decoded(item.payload)
            self._stdin.resume(value.get("stdin") if isinstance(value, dict) else None, stream)
            return None
        if item.kind != f.OUTPUT or len(item.payload) < 8:
            raise ProtocolViolation("The guest sent something else than output.")
        channel = 1 if item.flags & f.FLAG_STDERR else 0
        offset = int.from_bytes(item.payload[:8], "big")
        data = item.payload[8:]
        if offset < self._reached[channel]:
            raise ProtocolViolation(f"The guest repeated output: offset {offset}.")
        self._reached[channel] = offset + len(data)
        return OutputChunk(_STREAMS[channel], offset, data)
