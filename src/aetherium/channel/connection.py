"""One connection to an agent: handshake, streams, heartbeat. No guest can break or fill the host through it.

Callbacks only, no tasks: whoever waits for something is woken by the bytes that bring it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from typing import Any, cast

from aetherium.channel.streams import Stream, decoded, request
from aetherium.channel.transports import Transport
from aetherium.domain.errors import AetheriumError, ChannelClosed, InvalidInput, ProtocolViolation
from aetherium.domain.guest import GuestInfo
from aetherium.protocol import frames as f
from aetherium.protocol.values import info_from_wire

HEARTBEAT_S = 5.0
DEAD_S = 20.0
# An agent answers a HELLO in about a millisecond, many times that in a busy VM. After this long it may be
# in the middle of a frame that an earlier client left unfinished.
RESYNC_S = 0.2
# What may stand before the WELCOME: all that was on its way to an earlier client.
MAX_STALE = 16 << 20
MAX_STREAMS = 900  # below the agent's limit
# Uploads wait for the transport long before this. Beyond it stand only answers to a guest that never reads.
MAX_UNSENT = 32 << 20


class Connection(asyncio.Protocol):
    """Made by `connect`. `lost` is set when it is over; `error` then says why."""

    def __init__(self, transport: Transport, on_lost: Callable[[Connection], None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._resources = transport
        self._on_lost = on_lost
        self._wire: asyncio.Transport | None = None
        self._nonce = os.urandom(f.NONCE_SIZE)
        self._decoder = f.Decoder(f.welcome_prefix(self._nonce), resync=False)
        self._ready: asyncio.Future[GuestInfo] = self._loop.create_future()
        self._version = 0
        self._stale = 0
        self._streams: dict[int, Stream] = {}
        self._next_id = 1
        self._writable = asyncio.Event()
        self._writable.set()
        self._heard = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.error: AetheriumError | None = None
        self.lost = asyncio.Event()

    # -- life

    async def handshake(self) -> GuestInfo:
        """Greet the agent until it answers; the caller sets the deadline.

        Raises ProtocolViolation (also when no version of the protocol is common) or ChannelClosed.
        """
        self._write(f.hello(self._nonce))
        while True:
            done, _ = await asyncio.wait([self._ready], timeout=RESYNC_S)
            if done:
                break
            # What was not read yet will be: the guest is booting. Otherwise it was swallowed.
            if self._unread() == 0:
                self._write(f.PADDING + f.hello(self._nonce))
        info = self._ready.result()
        self._timer = self._loop.call_later(HEARTBEAT_S, self._heartbeat)
        return info

    def close(self) -> None:
        """Close; streams without an answer fail with ChannelClosed."""
        self._fail(ChannelClosed("The connection was closed."))

    def _fail(self, error: AetheriumError) -> None:
        if self.error is not None:
            return
        self.error = error
        if self._timer is not None:
            self._timer.cancel()
        if self._wire is not None:
            self._wire.abort()
        self._resources.resources.close()
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # retrieved: nobody may be waiting
        for stream in tuple(self._streams.values()):
            stream.settle(error)
        self._writable.set()
        self.lost.set()
        if self._on_lost is not None:
            self._on_lost(self)

    def _heartbeat(self) -> None:
        silent = self._loop.time() - self._heard
        if silent > DEAD_S:
            self._fail(ChannelClosed(f"The agent has been silent for {silent:.0f} seconds."))
            return
        if silent >= HEARTBEAT_S:
            self.send(f.PING, 0, b"host")
        self._timer = self._loop.call_later(HEARTBEAT_S, self._heartbeat)

    # -- streams

    def open(
        self,
        method: str,
        params: dict[str, Any],
        *,
        window: int = f.INITIAL_CREDIT,
        on_credit: Callable[[int], None] | None = None,
    ) -> Stream:
        """Send a request; its stream. Raises ChannelClosed, or InvalidInput for a request above 1 MiB."""
        if self.error is not None:
            raise ChannelClosed(self.error.message)
        if len(self._streams) >= MAX_STREAMS:
            raise InvalidInput(f"More than {MAX_STREAMS} requests to one VM at once.")
        message = request(method, params, window)
        if len(message) > f.MAX_MESSAGE:
            raise InvalidInput(
                f"The request {method} has {len(message)} bytes, at most {f.MAX_MESSAGE} fit.",
                hint="Pass long input through stdin or a file.",
            )
        stream_id, self._next_id = self._next_id, self._next_id + 1
        stream = Stream(self, stream_id, window, on_credit)
        self._streams[stream_id] = stream
        self._write(f.encode_message(f.REQUEST, stream_id, message))
        return stream

    def reset(self, stream: int) -> None:
        """Tell the agent to give a stream up."""
        self.send(f.RESET, stream)

    def forget(self, stream: int) -> None:
        """A stream is over: what still comes for it is ignored."""
        self._streams.pop(stream, None)

    # -- output

    def send(self, kind: int, stream: int, payload: bytes = b"") -> None:
        """Send a frame; dropped when the connection is over."""
        self._write(f.encode(kind, stream, payload))

    def _write(self, data: bytes) -> None:
        if self._wire is None or self.error is not None:
            return
        self._wire.write(data)
        if self._wire.get_write_buffer_size() > MAX_UNSENT:
            self._fail(ChannelClosed("The guest does not read what is sent to it."))

    async def drain(self) -> None:
        """Wait until the transport takes more."""
        await self._writable.wait()

    def _unread(self) -> int:
        """Bytes that the far side has not read yet."""
        if self._wire is None:
            return 0
        buffered = self._wire.get_write_buffer_size()
        sock = self._wire.get_extra_info("socket")
        try:
            raw = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        except OSError:
            return buffered + 1  # vsock cannot tell; its connections are new, so nothing is swallowed there
        return buffered + int(struct.unpack("i", raw)[0])

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        reason = f": {exc}" if exc else ""
        self._fail(ChannelClosed(f"The connection to the guest ended{reason}."))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self.error is not None:
            return
        self._heard = self._loop.time()
        try:
            if self._decoder.hunting:
                self._stale += len(data)
                if self._stale > MAX_STALE:
                    raise ProtocolViolation("The guest sends and does not answer the handshake.")
            for kind, flags, stream, payload in self._decoder.feed(data):
                self._frame(kind, flags, stream, payload)
        except f.FrameError as error:
            self._fail(ProtocolViolation(f"The guest sent what is no frame: {error}."))
        except AetheriumError as error:
            self._fail(error)

    # -- input

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            stream = self._streams.get(stream_id)
            if stream is not None:
                stream.receive(kind, flags, payload)
            elif stream_id >= self._next_id:
                raise ProtocolViolation(f"The guest used stream {stream_id}, which was never opened.")
        elif kind == f.PING:
            self.send(f.PONG, 0, payload[:64])
        elif kind == f.WELCOME:
            self._welcomed(payload)
        elif kind == f.INFO:
            if not self._ready.done() and self._version:
                self._ready.set_result(info_from_wire(decoded(payload), self._version))
        elif kind == f.ERROR:
            raise ProtocolViolation(f"The agent ended the connection: {payload[:200]!r}.")
        elif kind != f.PONG:
            raise ProtocolViolation(f"The guest sent a frame of the unknown type {kind}.")

    def _welcomed(self, payload: bytes) -> None:
        nonce, version = f.parse_welcome(payload)
        if nonce != self._nonce:
            raise ProtocolViolation("The guest answered somebody else's handshake.")
        if version != f.VERSION:
            raise ProtocolViolation(
                f"The agent does not speak version {f.VERSION} of the guest protocol.",
                hint="Build the image anew: its agent is older or newer than this host.",
            )
        self._version = version


async def connect(transport: Transport, on_lost: Callable[[Connection], None] | None = None) -> Connection:
    """A connection over `transport`, which it owns from now on; the handshake is still to be done."""
    loop = asyncio.get_running_loop()
    connection = Connection(transport, on_lost)
    try:
        await loop.create_connection(lambda: connection, sock=transport.sock)
    except BaseException:
        transport.close()
        raise
    return connection
