"""Answers with many entries: EVENT frames of some entries each, as credit allows."""

from aetherium.guest.connection import Handler
from aetherium.protocol.frames import EVENT, INITIAL_CREDIT
from aetherium.protocol.pack import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

BATCH_SIZE = 16 * 1024


class Batches(Handler):
    """Sends the entries of an iterator; each is less than a frame."""

    def __init__(self, entries: "Iterator[dict[str, Any]]") -> None:
        self._entries = entries
        self._ready = b""

    def pump(self) -> bool:
        """One batch."""
        if not self._ready:
            try:
                self._ready = self._next()
            except OSError as error:
                self.stream.fail(error)
                return False
        if not self._ready:
            self.stream.respond({})
            return False
        if self.stream.credit < len(self._ready):
            return False
        self.stream.send(EVENT, self._ready)
        self._ready = b""
        return True

    def _next(self) -> bytes:
        batch: list[Any] = []
        size = 0
        for entry in self._entries:
            batch.append(entry)
            size += len(pack(entry))
            if size >= BATCH_SIZE:
                break
        return pack(batch)[: INITIAL_CREDIT if batch else 0]
