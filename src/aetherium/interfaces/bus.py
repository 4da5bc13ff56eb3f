"""Facts and hints between processes.

What is published arrives at most once: what must not be missed is read from the database (events have a
gapless `seq`), and the bus says that it is worth looking now.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class EventBus(Protocol):
    """Topics with small text messages, for instance ``dispatch``, ``cancel.<worker id>``, ``job.<id>``."""

    async def publish(self, topic: str, message: str = "") -> None:
        """Tell all who listen now. Never raises for a bus that cannot be reached: a hint may be lost, and
        whoever waits for it looks by itself every now and then."""
        ...

    def listen(self, topics: Sequence[str]) -> AbstractAsyncContextManager[AsyncIterator[tuple[str, str]]]:
        """(topic, message) of everything published from when the block is entered on; a topic that ends in
        ``*`` stands for all that begin so. Bounded: a slow listener loses the oldest. Reconnects by itself,
        and then yields one (topic, "") for each topic without ``*``, since something may have been missed."""
        ...
