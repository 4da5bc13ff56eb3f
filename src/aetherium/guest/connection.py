"""The agent's side of one connection: frames in, frames out, streams with credit (guest.md, "Streams").

Nothing that a peer sends raises out of here: a framing error makes the connection hunt for the next HELLO,
a wrong request is answered with FAILURE.
"""

import os
import sys
from errno import EAGAIN, EINTR, errorcode
from time import monotonic

from aetherium.guest.loop import EDGE, GONE, READ, WRITE, Loop
from aetherium.protocol import frames as f
from aetherium.protocol.pack import PackError, pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from aetherium.guest.agent import Agent

HIGH_WATER = 256 * 1024
# With its header a chunk is two writes to a virtio port, which takes 32 KiB each (Linux, virtio_console.c).
CHUNK = f.MAX_PAYLOAD - f.HEADER_SIZE
MAX_STREAMS = 1024
MAX_CREDIT = 1 << 40
HEARTBEAT_S = 5.0
DEAD_S = 30.0
READ_SIZE = 256 * 1024
# Work for one client at a time. A read may bring hundreds of commands to start, at tens of milliseconds each.
SLICE_S = 0.02


_space = bytearray(READ_SIZE)  # of whichever connection reads


class Handler:
    """What answers a stream. The defaults ignore everything."""

    stream: "Stream"

    def data(self, payload: bytes) -> None:
        """Bytes came; `stream.grant` once they were consumed."""

    def end(self) -> None:
        """No more bytes will come."""

    def credited(self, count: int) -> None:
        """The host has consumed so many bytes."""

    def pump(self) -> bool:
        """Send one chunk; True if there is more to send right now. An OSError fails the stream."""
        return False

    def closed(self, clean: bool) -> None:
        """The stream is over before its answer: reset by the host (`clean`), or the connection was lost."""


class Stream:
    """One request and its answer."""

    __slots__ = ("connection", "credit", "handler", "id", "open", "owed", "window")

    def __init__(self, connection: "Connection", stream: int, credit: int = f.INITIAL_CREDIT) -> None:
        self.connection = connection
        self.id = stream
        self.credit = credit  # what we may send
        self.window = f.INITIAL_CREDIT  # what the host may send
        self.owed = 0  # what it may send beyond that once it is told
        self.handler = Handler()
        self.open = True

    def answer(self, handler: Handler) -> None:
        """Let `handler` answer this stream."""
        handler.stream = self
        self.handler = handler

    def respond(self, value: "Any") -> None:
        """Answer, and end the stream."""
        self._finish(f.RESPONSE, value)

    def fail(self, error: "OSError | str", message: str = "") -> None:
        """Answer with a failure, and end the stream. `error` is an OSError or a symbolic name."""
        if isinstance(error, str):
            self._finish(f.FAILURE, {"errno": error, "message": message[:1000]})
        else:
            name = errorcode.get(error.errno or 0, "")
            where = f": {error.filename!r}" if error.filename else ""
            text = message or f"{error.strerror or error}{where}"
            self._finish(f.FAILURE, {"errno": name, "message": text[:1000]})

    def _finish(self, kind: int, value: "Any") -> None:
        if self.open:
            self.open = False
            self.connection.streams.pop(self.id, None)
            self.connection.send(kind, self.id, pack(value))

    def room(self) -> int:
        """Bytes that may be sent now, in one frame."""
        return min(self.credit, CHUNK) if self.open and self.credit >= f.LEAST_COST else 0

    def send(self, kind: int, payload: bytes, flags: int = 0) -> None:
        """A frame that counts against credit; the caller has looked at `room`."""
        self.credit -= f.cost(payload)
        self.connection.send(kind, self.id, payload, flags)

    def grant(self, count: int) -> None:
        """Let the host send so many more bytes. Told in lumps, but long before it has to wait."""
        self.owed += count
        if self.open and self.owed and 3 * self.owed >= self.window:
            self.window += self.owed
            self.connection.send(f.CREDIT, self.id, self.owed.to_bytes(4, "big"))
            self.owed = 0

    def wake(self) -> None:
        """The handler has something to send."""
        if self.open:
            self.connection.ready[self.id] = self


def parse_request(message: bytes) -> "tuple[str, dict[str, Any], int]":
    """(method, params, window) of a REQUEST. Raises ValueError or TypeError."""
    method, params, window = unpack(message)
    if type(method) is not str or type(params) is not dict or type(window) is not int:
        raise PackError("expected [method, params, window]")
    if not f.INITIAL_CREDIT <= window <= MAX_CREDIT:
        raise PackError(f"a window of {window} bytes")
    return method, params, window


class Connection:
    """One client of the agent, over any descriptor.

    Args:
        port: the descriptor is a virtio port: it is never closed, and serves one client after the other.
    """

    def __init__(
        self, agent: "Agent", loop: Loop, fd: int, *, port: bool, gone: "Callable[[Connection], None]"
    ) -> None:
        self._agent = agent
        self._loop = loop
        self._fd = fd
        self._port = port
        self._gone = gone
        self._decoder = f.Decoder(f.HELLO_PREFIX, resync=True)
        self._nonce = b""
        self._out = bytearray()
        self._more = False  # the descriptor may hold more than was read in this turn
        self._heard = monotonic()
        self._newest = 0
        self._partial: dict[int, bytes] = {}
        self._inbox: list[f.Frame] = []  # last comes first
        self.streams: dict[int, Stream] = {}
        self.ready: dict[int, Stream] = {}
        # Edges only: a port without a host is in a permanent hang-up, which levels would report for ever.
        self._mask = READ | WRITE | EDGE if port else READ
        loop.watch(fd, self._mask, self._event)

    # -- output

    def send(self, kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> None:
        """Queue a frame; it is written at the end of the turn."""
        self._out += f.header(kind, stream, len(payload), flags)
        self._out += payload

    def flush(self) -> bool:
        """Let streams fill the buffer in turns, and write. True if it should be called again at once."""
        if self._inbox:
            self._work()
        elif self._more and self._fd >= 0:
            self._read()
        while self.ready and len(self._out) < HIGH_WATER:
            stream = self.ready.pop(next(iter(self.ready)))
            if stream.open and self._guarded(stream, stream.handler.pump):
                stream.wake()
        if self._out and self._fd >= 0:
            self._write()
        return self._more or bool(self._inbox) or (bool(self.ready) and len(self._out) < HIGH_WATER)

    def _write(self) -> None:
        out = self._out
        at, size = 0, len(out)
        try:
            with memoryview(out) as view:
                while at < size:
                    at += os.write(self._fd, view[at:])
        except OSError as error:
            if error.errno not in (EAGAIN, EINTR):
                self.lose()
                return
        del out[:at]
        if not self._port:
            self._want(READ | WRITE if out else READ)

    def _want(self, mask: int) -> None:
        # A client that does not read its answers is not read from: our memory stays bounded.
        if len(self._out) > 4 * HIGH_WATER:
            mask &= ~READ
        if mask != self._mask and self._fd >= 0:
            self._mask = mask
            self._loop.watch(self._fd, mask, self._event)

    # -- input

    def _event(self, events: int) -> None:
        if events & GONE and not events & READ:
            self.lose()
        elif events & READ or self._port:
            self._read()

    def _read(self) -> None:
        self._more = False
        if len(self._out) > 4 * HIGH_WATER or self._inbox:
            # An edge is reported once: come back when the output has drained and the work is done.
            self._more = self._port
            return
        count = self._fill()
        if count < 0:
            return
        if not count:
            self.lose()
            return
        self._heard = monotonic()
        with memoryview(_space) as view:
            self._inbox = self._decoder.feed(view[:count])
        self._inbox.reverse()
        self._work()

    def _fill(self) -> int:
        """Read into `_space`: how many bytes; 0 at the end, -1 when there is nothing or it is lost.

        A port gives 4 KiB at once, however much it holds; what follows is done once for all of it.
        """
        count = 0
        try:
            with memoryview(_space) as view:
                while True:
                    got = os.readv(self._fd, (view[count:],))
                    count += got
                    self._more = self._port and (not got or count == READ_SIZE)
                    if self._more or not self._port:
                        return count
        except OSError as error:
            if error.errno in (EAGAIN, EINTR):
                return count or -1
            self.lose()
            return -1

    def _work(self) -> None:
        """Handle what came, but not for long: answers, heartbeats and other clients must not wait for it."""
        until = monotonic() + SLICE_S
        while self._inbox:
            self._frame(*self._inbox.pop())
            if monotonic() > until:
                return

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == f.HELLO:
            self._hello(payload)
        elif not self._nonce:
            return
        elif kind == f.REQUEST:
            self._request(stream_id, flags, payload)
        elif kind == f.PING:
            self.send(f.PONG, 0, payload[:64])
        else:
            stream = self.streams.get(stream_id)
            if stream is not None:
                self._guarded(stream, lambda: self._stream_frame(stream, kind, payload))

    def _guarded(self, stream: Stream, action: "Callable[[], Any]") -> "Any":
        """What goes wrong while a stream is handled ends that stream and nothing else."""
        try:
            return action()
        except OSError as error:
            self._drop(stream, clean=True)
            stream.fail(error)
        except Exception as error:
            sys.stderr.write(f"aetherium: stream {stream.id}: {error!r}\n")
            self._drop(stream, clean=True)
            stream.fail("EIO", f"the agent failed: {error!r}")
        return None

    def _stream_frame(self, stream: Stream, kind: int, payload: bytes) -> None:
        if kind == f.DATA:
            stream.window -= len(payload)
            if stream.window < 0:
                self._drop(stream, clean=True)
                stream.fail("EOVERFLOW", "more bytes than credit was given for")
            else:
                stream.handler.data(payload)
        elif kind == f.END:
            stream.handler.end()
        elif kind == f.CREDIT and len(payload) == 4:
            count = int.from_bytes(payload, "big")
            stream.credit = min(stream.credit + count, MAX_CREDIT)
            stream.handler.credited(count)
            stream.wake()
        elif kind == f.RESET:
            self._drop(stream, clean=True)
            stream.open = False
            self.streams.pop(stream.id, None)

    def _drop(self, stream: Stream, *, clean: bool) -> None:
        handler, stream.handler = stream.handler, Handler()
        try:
            handler.closed(clean)
        except OSError as error:
            sys.stderr.write(f"aetherium: stream {stream.id}: {error}\n")

    def _hello(self, payload: bytes) -> None:
        try:
            nonce, lowest, highest = f.parse_hello(payload)
        except f.FrameError:
            self._decoder.reset()
            return
        if nonce != self._nonce:
            self._end_streams()
            self._out.clear()
            self._nonce = nonce
        if lowest <= f.VERSION <= highest:
            self._out += f.welcome(nonce)
            self.send(f.INFO, 0, pack(self._agent.info()))
        else:
            self._out += f.welcome(nonce, 0)
            self._nonce = b""

    def _request(self, stream_id: int, flags: int, payload: bytes) -> None:
        message = self._partial.pop(stream_id, b"") + payload
        if flags & f.FLAG_MORE:
            if len(message) <= f.MAX_MESSAGE and len(self._partial) < 4:
                self._partial[stream_id] = message
            return
        if stream_id <= self._newest:
            return  # a repeat, or an id that was used: its answer was given
        self._newest = stream_id
        stream = Stream(self, stream_id)
        if len(self.streams) >= MAX_STREAMS:
            stream.fail("EMFILE", f"more than {MAX_STREAMS} streams")
            return
        self.streams[stream_id] = stream
        self._guarded(stream, lambda: self._dispatch(stream, message))

    def _dispatch(self, stream: Stream, message: bytes) -> None:
        try:
            method, params, stream.credit = parse_request(message)
            self._agent.dispatch(stream, method, params)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            stream.fail("EINVAL", f"malformed request: {error!r}")

    # -- life

    def heartbeat(self) -> None:
        """Called every HEARTBEAT_S: ask a silent client, drop a dead one."""
        silent = 0.0 if self._inbox else monotonic() - self._heard
        if self._nonce and silent > DEAD_S:
            self.lose()
        elif self._nonce and silent >= HEARTBEAT_S:
            self.send(f.PING, 0, b"agent")

    def _end_streams(self) -> None:
        self._newest = 0
        self._partial.clear()
        self.ready.clear()
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            stream.open = False
            self._drop(stream, clean=False)

    def lose(self) -> None:
        """The client is gone: a port waits for the next one, a socket is closed."""
        self._end_streams()
        self._decoder.reset()
        self._out.clear()
        self._nonce = b""
        self._more = False
        self._inbox.clear()
        if not self._port and self._fd >= 0:
            self._loop.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._gone(self)
