"""The stdin of an execution: bytes of several writers, passed on as fast as the process reads."""

import os
from errno import EAGAIN, EINTR

from aetherium.guest.loop import WRITE, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aetherium.guest.connection import Stream

END_OF_TRANSMISSION = b"\x04"
MAX_WRITERS = 256


class Stdin:
    """Writes to a pipe, or to a terminal (which stays open: its end of file is a character).

    Args:
        fd: where to write, or -1: everything is taken and dropped.
    """

    def __init__(self, loop: Loop, fd: int, *, terminal: bool = False) -> None:
        self._loop = loop
        self._terminal = terminal
        # A terminal's descriptor is its output's too, and epoll knows a descriptor once: use a copy.
        self._fd = os.dup(fd) if terminal and fd >= 0 else fd
        self._pending = bytearray()
        self._owed: list[tuple[Stream, int]] = []
        self._ending = False
        self._taken: dict[bytes, int] = {}
        if self._fd >= 0:
            os.set_blocking(self._fd, False)

    def taken(self, writer: bytes) -> int:
        """Bytes that this writer has handed over so far."""
        return self._taken.get(writer, 0)

    def write(self, writer: bytes, data: bytes, stream: "Stream | None") -> None:
        """Take bytes; `stream` gets its credit back when they were passed on."""
        if writer not in self._taken and len(self._taken) >= MAX_WRITERS:
            del self._taken[next(iter(self._taken))]
        self._taken[writer] = self._taken.get(writer, 0) + len(data)
        if self._fd < 0 or self._ending:
            if stream is not None:
                stream.grant(len(data))
            return
        self._pending += data
        if stream is not None:
            self._owed.append((stream, len(data)))
        self._flush(0)

    def finish(self) -> None:
        """End of file, after what is pending."""
        if self._fd < 0 or self._ending:
            return
        if self._terminal:
            self._pending += END_OF_TRANSMISSION
        else:
            self._ending = True
        self._flush(0)

    def close(self) -> None:
        """Give up; what was not passed on is dropped."""
        if self._fd >= 0:
            self._loop.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._pending.clear()
        self._pay()

    def _flush(self, _events: int) -> None:
        try:
            while self._pending:
                count = os.write(self._fd, self._pending)
                del self._pending[:count]
        except OSError as error:
            if error.errno not in (EAGAIN, EINTR):
                self.close()  # nobody reads any more
                return
        self._pay()
        if self._pending:
            self._loop.watch(self._fd, WRITE, self._flush)
        else:
            self._loop.unwatch(self._fd)
            if self._ending:
                self.close()

    def _pay(self) -> None:
        """Give credit for what was passed on, to whom it belongs, in order."""
        left = len(self._pending)
        owed = sum(count for _, count in self._owed)
        while self._owed and owed > left:
            stream, count = self._owed[0]
            paid = min(count, owed - left)
            stream.grant(paid)
            owed -= paid
            if paid == count:
                del self._owed[0]
            else:
                self._owed[0] = (stream, count - paid)
