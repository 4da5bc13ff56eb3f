"""What a writer sent to an execution's stdin and the guest has not consumed: it may have to be repeated."""

from __future__ import annotations

from aetherium.channel.streams import Stream
from aetherium.domain.errors import ProtocolViolation

# A new stream's initial credit covers all that an earlier one can have left unconsumed (INITIAL_CREDIT).


class StdinLog:
    """Offsets count from the writer's first byte; `taken` bytes went with the request itself."""

    def __init__(self, taken: int = 0, *, ended: bool = False) -> None:
        self._log = bytearray()
        self._start = taken
        self._sent = taken
        self._ended = ended
        self.synchronised = True

    def consumed(self, count: int) -> None:
        """The guest has consumed so many bytes more."""
        count = min(count, len(self._log))
        del self._log[:count]
        self._start += count

    async def send(self, stream: Stream, piece: bytes) -> None:
        """Send a piece, at most one frame's worth; it is in the log even if that fails."""
        self._log += piece
        self._sent += len(piece)
        await stream.send(piece)

    def end(self, stream: Stream | None) -> None:
        """End of file."""
        self._ended = True
        if stream is not None:
            stream.end()

    def lost(self) -> None:
        """The connection is gone; nothing may be sent before the agent said how far it had come."""
        self.synchronised = False

    def resume(self, taken: object, stream: Stream) -> None:
        """The agent has taken this many bytes: send the rest again. Raises ProtocolViolation."""
        if not isinstance(taken, int) or taken < 0:
            raise ProtocolViolation(f"The guest sent a malformed stdin offset: {taken!r}.")
        if not self.synchronised:
            if not self._start <= taken <= self._sent:
                raise ProtocolViolation(f"The guest claims to have read stdin up to {taken}.")
            del self._log[: taken - self._start]
            self._start = taken
            if self._log:
                stream.send_again(bytes(self._log))
            if self._ended:
                stream.end()
        self.synchronised = True
