"""What was sent to a command's stdin and is not acknowledged: it may have to be sent again."""

from __future__ import annotations

from aetherium.rpc.options import PIECE


class StdinLog:
    """Offsets count from the session's first byte.

    Attributes:
        acknowledged: all before it went to the guest.
        lost: how often it could not be told whether what was unacknowledged arrived.
    """

    def __init__(self) -> None:
        self._log = bytearray()
        self._sent = 0
        self._ended = False
        self._end_sent = False
        self._end_acknowledged = False
        self.acknowledged = 0
        self.lost = 0

    @property
    def end(self) -> int:
        """The offset after the last byte."""
        return self.acknowledged + len(self._log)

    @property
    def unacknowledged(self) -> int:
        """Bytes that may have to be sent again."""
        return len(self._log)

    @property
    def closed(self) -> bool:
        """Whether end of file went to the guest."""
        return self._end_acknowledged

    @property
    def pending(self) -> bool:
        """Whether there is something to send."""
        return self._sent < self.end or (self._ended and not self._end_sent)

    def append(self, data: bytes) -> None:
        """Bytes to send."""
        self._log += data

    def finish(self) -> None:
        """No more bytes come."""
        self._ended = True

    def next(self) -> bytes | None:
        """What is to be sent next; None: end of file. Only while something is pending."""
        if self._sent == self.end:
            self._end_sent = True
            return None
        at = self._sent - self.acknowledged
        piece = bytes(self._log[at : at + PIECE])
        self._sent += len(piece)
        return piece

    def acknowledge(self, total: int, *, ended: bool) -> None:
        """The guest has got this much."""
        del self._log[: total - self.acknowledged]
        self.acknowledged = total
        self._end_acknowledged = ended

    def resume(self, received: int, *, ended: bool) -> None:
        """On a new connection: the worker has this much, and gets the rest."""
        self._sent = received
        self._end_sent = ended

    def forget(self) -> None:
        """On a new connection to a worker that does not know how much it got: nothing is sent twice."""
        if self._sent > self.acknowledged or (self._end_sent and not self._end_acknowledged):
            self.lost += 1
            self._log.clear()
            self._sent = self.acknowledged
            self._end_sent = self._end_acknowledged = self._ended
