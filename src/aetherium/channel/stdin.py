"""What a writer sent to an execution's stdin and the guest has not consumed: it may have to be repeated."""

from __future__ import annotations

from aetherium.channel.streams import Stream
from aetherium.domain.errors import ProtocolViolation
from aetherium.protocol.frames import INITIAL_CREDIT


class StdinLog:
    """Offsets count from the writer's first byte; `taken` bytes go with the request itself.

    Attributes:
        stream: the stream on which bytes may be sent. After a lost connection there is none until the agent
            has said how far it had come.
    """

    def __init__(self, taken: int = 0, *, ended: bool = False) -> None:
        self._log = bytearray()
        self._start = taken  # offset of the log's first byte: all before it was consumed
        self._sent = taken  # offset up to which bytes were sent on `stream`
        self._ended = ended
        self.stream: Stream | None = None

    @property
    def pending(self) -> bool:
        """Whether bytes are left to send."""
        return self._sent < self._start + len(self._log)

    def append(self, piece: bytes) -> None:
        """Bytes that `flush` is to send."""
        self._log += piece

    def consumed(self, count: int) -> None:
        """The guest has consumed so many bytes more."""
        count = min(count, self._sent - self._start)
        del self._log[:count]
        self._start += count

    async def flush(self, stream: Stream) -> None:
        """Send what was appended, as credit allows. Raises what the stream failed with."""
        while self.pending and stream is self.stream:
            room = await stream.room()
            if stream is not self.stream:
                return
            if not room:
                self._sent = self._start + len(self._log)  # it has ended: nobody will read this
                return
            at = self._sent - self._start
            piece = bytes(self._log[at : at + room])
            self._sent += len(piece)
            stream.send_now(piece)

    def end(self) -> None:
        """End of file, after all that was flushed."""
        self._ended = True
        if self.stream is not None:
            self.stream.end()

    def begin(self, stream: Stream) -> None:
        """The first stream: nothing was sent before it."""
        self.stream = stream

    def lost(self) -> None:
        """The connection is gone."""
        self.stream = None

    def resume(self, taken: object, stream: Stream) -> None:
        """The agent has taken this many bytes: go on from there. Raises ProtocolViolation."""
        if type(taken) is not int or taken < 0:
            raise ProtocolViolation(f"The guest sent a malformed stdin offset: {taken!r}.")
        if stream is self.stream:
            return
        if not self._start <= taken <= self._sent:
            raise ProtocolViolation(f"The guest claims to have read stdin up to {taken}.")
        del self._log[: taken - self._start]
        self._start = taken
        again = bytes(self._log[: self._sent - taken])
        if len(again) > INITIAL_CREDIT:
            raise ProtocolViolation("The guest gave credit for stdin that it had not read.")
        if again:
            stream.send_now(again)
        if self._ended:
            stream.end()
        self.stream = stream
