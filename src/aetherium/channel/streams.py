"""The host's side of one stream: what came and was not consumed yet, credit both ways, the answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from aetherium.domain.errors import AetheriumError, ChannelClosed, GuestError, ProtocolViolation
from aetherium.protocol import frames as f
from aetherium.protocol.pack import PackError, pack, unpack

if TYPE_CHECKING:
    from aetherium.channel.connection import Connection

SEND_CHUNK = f.MAX_PAYLOAD


class Item(NamedTuple):
    """A counted frame: DATA, OUTPUT or EVENT."""

    kind: int
    flags: int
    payload: bytes


class Stream:
    """One request. Used as a context manager: leaving before the answer resets the stream.

    Args:
        window: bytes that the agent may have sent and that were not consumed, at most: the memory that a
            stream can use on the host.
        on_credit: told of every credit that the agent gives.
    """

    def __init__(
        self, connection: Connection, stream: int, window: int, on_credit: Callable[[int], None] | None
    ) -> None:
        self._connection = connection
        self._id = stream
        self._items: deque[Item] = deque()
        self._changed = asyncio.Event()
        self._window = window
        # Credit is given back in lumps, each of which wakes the guest, but well before it is used up.
        self._lump = window // 4
        self._owed = 0
        self._credit = f.INITIAL_CREDIT
        self._on_credit = on_credit
        self._answer: Any = None
        self._error: AetheriumError | None = None
        self.finished = False

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the stream up, if it has no answer yet."""
        if not self.finished:
            self._connection.reset(self._id)
            self.settle(ChannelClosed("The stream was closed before its answer."))

    @property
    def failed(self) -> bool:
        """Whether it is over without an answer."""
        return self._error is not None

    # -- consuming

    async def next(self) -> Item | None:
        """What came next; None once the answer is there. Raises what the stream failed with, after all items.

        Gives credit for the item: it counts as consumed.
        """
        while not self._items:
            if self._error is not None:
                raise self._error
            if self.finished:
                return None
            self._changed.clear()
            await self._changed.wait()
        item = self._items.popleft()
        self._grant(f.cost(item.payload))
        return item

    async def answer(self) -> Any:
        """The answer; items that nobody asked for are dropped."""
        while await self.next() is not None:
            continue
        return self._answer

    def _grant(self, count: int) -> None:
        self._owed += count
        if self._owed >= self._lump and not self.finished:
            self._window += self._owed
            self._connection.send(f.CREDIT, self._id, self._owed.to_bytes(4, "big"))
            self._owed = 0

    # -- sending

    async def send(self, data: bytes) -> None:
        """Send bytes as credit allows; returns at once if the stream was answered.

        Raises what the stream failed with.
        """
        view = memoryview(data)
        while view:
            room = await self.room()
            if not room:
                return
            self.send_now(bytes(view[:room]))
            view = view[room:]

    async def room(self) -> int:
        """Wait until bytes may be sent; how many: 0 once it was answered. Raises what it failed with."""
        await self._connection.drain()
        while self._credit <= 0 and not self.finished:
            self._changed.clear()
            await self._changed.wait()
        if self._error is not None:
            raise self._error
        return 0 if self.finished else min(self._credit, SEND_CHUNK)

    def send_now(self, piece: bytes) -> None:
        """Send a piece for which there is room."""
        self._credit -= len(piece)
        self._connection.send(f.DATA, self._id, piece)

    def end(self) -> None:
        """No more bytes will be sent."""
        if not self.finished:
            self._connection.send(f.END, self._id)

    # -- called by the connection

    def receive(self, kind: int, flags: int, payload: bytes) -> None:
        """A frame of this stream. Raises ProtocolViolation."""
        if kind in (f.DATA, f.OUTPUT, f.EVENT):
            self._window -= f.cost(payload)
            if self._window < 0 or not payload:
                raise ProtocolViolation(f"The guest sent more than it had credit for on stream {self._id}.")
            self._items.append(Item(kind, flags, payload))
            self._changed.set()
        elif kind == f.CREDIT:
            if len(payload) != 4:
                raise ProtocolViolation("The guest sent a malformed CREDIT.")
            count = int.from_bytes(payload, "big")
            self._credit += count
            if self._on_credit is not None:
                self._on_credit(count)
            self._changed.set()
        elif kind in (f.RESPONSE, f.FAILURE):
            self._finish(kind, payload)
        else:
            raise ProtocolViolation(f"The guest sent a frame of type {kind} on a stream.")

    def _finish(self, kind: int, payload: bytes) -> None:
        value = decoded(payload)
        if kind == f.RESPONSE:
            self._answer = value
            self.settle(None)
            return
        if not isinstance(value, dict):
            raise ProtocolViolation("The guest sent a malformed FAILURE.")
        message = str(value.get("message", ""))[:1000]
        self.settle(GuestError(f"The guest refused: {message}.", errno=str(value.get("errno", ""))[:32]))

    def settle(self, error: AetheriumError | None) -> None:
        """The stream is over."""
        self.finished = True
        self._error = error
        self._connection.forget(self._id)
        self._changed.set()


def decoded(payload: bytes) -> Any:
    """A control value. Raises ProtocolViolation."""
    try:
        return unpack(payload)
    except PackError as error:
        raise ProtocolViolation(f"The guest sent a malformed value: {error}.") from error


def request(method: str, params: dict[str, Any], window: int) -> bytes:
    """The message of a REQUEST."""
    return pack([method, params, window])
