"""Answers with many entries: EVENT frames of some entries each, as credit allows."""

from aetherium.guest.connection import Handler
from aetherium.protocol import frames as f
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
        self._ready = self._ready or self._next()
        if not self._ready:
            self.stream.respond({})
            return False
        if self.stream.credit < f.cost(self._ready):
            return False
        self.stream.send(f.EVENT, self._ready)
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
        return pack(batch) if batch else b""
