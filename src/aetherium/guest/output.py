"""One output stream of an execution: read from a pipe or terminal, kept in a ring for those who follow it."""

import os
from errno import EAGAIN, EINTR

from aetherium.guest.loop import READ, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ_SIZE = 65536 - 8  # what fits into one OUTPUT frame, after its offset
# Every stream may keep this much, whatever was asked for: as much as may be under way to a client.
LEAST_KEPT = 64 * 1024


class Budget:
    """Memory for kept output, shared by all executions: an agent must fit into a small VM."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class Output:
    """Bytes `start` to `end` of one output are kept.

    While somebody follows (`holds` gives the offset that the slowest one has consumed up to), what they have
    not consumed stays, and the pipe is not read beyond the limit: the writer waits. Otherwise the oldest
    bytes go.
    """

    def __init__(
        self,
        loop: Loop,
        fd: int,
        limit: int,
        budget: Budget,
        holds: "Callable[[], int | None]",
        changed: "Callable[[], None]",
    ) -> None:
        self._loop = loop
        self._fd = fd
        self._limit = max(limit, LEAST_KEPT)
        self._budget = budget
        self._holds = holds
        self._changed = changed
        self._kept = bytearray()
        self._watching = False
        self._discarding = False
        self.start = 0
        self.end = 0
        self.done = fd < 0
        if fd >= 0:
            os.set_blocking(fd, False)
        self.resume()

    def resume(self) -> None:
        """Read on, if there is room."""
        if self.done:
            return
        wanted = self._room()
        if wanted and not self._watching:
            self._watching = True
            self._loop.watch(self._fd, READ, self._ready)
        elif not wanted and self._watching:
            self._watching = False
            self._loop.unwatch(self._fd)

    def drain(self) -> bool:
        """Read what is there now; True when nothing is left (so all that an ended writer wrote is here)."""
        while not self.done and self._room():
            if not self._read():
                return True
        return self.done

    def slice(self, offset: int, size: int) -> tuple[int, bytes]:
        """(offset of the first byte, bytes) of what is kept from `offset` on, at most `size` bytes."""
        begin = max(offset, self.start) - self.start
        with memoryview(self._kept) as kept:
            return self.start + begin, bytes(kept[begin : begin + size])

    def forget(self) -> None:
        """Drop everything and stop reading."""
        self.close()
        self._drop(len(self._kept))

    def discard(self) -> None:
        """The execution has ended: what processes left behind write from now on is read and dropped."""
        self._discarding = True
        self.resume()

    def shed(self) -> None:
        """Drop what is kept."""
        self._drop(len(self._kept))

    def close(self) -> None:
        """Stop reading; what was kept stays."""
        if not self.done:
            self.done = True
            if self._watching:
                self._loop.unwatch(self._fd)
            os.close(self._fd)

    def _room(self) -> bool:
        held = self._holds()
        if held is None or self._discarding:
            return True
        waiting = self.end - max(held, self.start)
        limit = self._limit if self._budget.used < self._budget.limit else LEAST_KEPT
        return waiting < limit

    def _ready(self, _events: int) -> None:
        self._read()
        self.resume()

    def _read(self) -> bool:
        """One read; False when nothing was there."""
        try:
            data = os.read(self._fd, READ_SIZE)
        except OSError as error:
            if error.errno in (EAGAIN, EINTR):
                return False
            data = b""  # EIO: the last process has let go of the terminal
        if not data:
            self.close()
        if self._discarding:
            return bool(data)
        self._kept += data
        self.end += len(data)
        self._budget.used += len(data)
        self._trim()
        self._changed()
        return bool(data)

    def _trim(self) -> None:
        limit = self._limit if self._budget.used < self._budget.limit else LEAST_KEPT
        surplus = len(self._kept) - limit
        held = self._holds()
        if held is not None:
            surplus = min(surplus, held - self.start)
        if surplus > 0:
            self._drop(surplus)

    def _drop(self, count: int) -> None:
        del self._kept[:count]
        self.start += count
        self._budget.used -= count
