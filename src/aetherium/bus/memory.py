"""The bus within one process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aetherium.bus.mailbox import Mailbox
from aetherium.interfaces.bus import EventBus


class MemoryBus:
    """See interfaces/bus.py."""

    def __init__(self) -> None:
        self._mailboxes: set[Mailbox] = set()

    async def publish(self, topic: str, message: str = "") -> None:
        for mailbox in self._mailboxes:
            mailbox.offer(topic, message)

    @asynccontextmanager
    async def listen(self, topics: Sequence[str]) -> AsyncIterator[AsyncIterator[tuple[str, str]]]:
        mailbox = Mailbox(topics)
        self._mailboxes.add(mailbox)
        try:
            yield mailbox
        finally:
            self._mailboxes.discard(mailbox)


@asynccontextmanager
async def open_memory_bus() -> AsyncIterator[MemoryBus]:
    """A bus for the time of the block."""
    yield MemoryBus()


_: type[EventBus] = MemoryBus
