"""What one listener has not taken yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

# What a slow listener may lag behind before it loses the oldest.
BACKLOG = 1000


class Mailbox:
    """Yields (topic, message), the oldest first.

    Args:
        topics: those wanted; with ``*`` at the end all that begin so.
    """

    def __init__(self, topics: Sequence[str]) -> None:
        self._exact = frozenset(topic for topic in topics if not topic.endswith("*"))
        self._begins = tuple(topic[:-1] for topic in topics if topic.endswith("*"))
        self._messages: deque[tuple[str, str]] = deque(maxlen=BACKLOG)
        self._some = asyncio.Event()

    def offer(self, topic: str, message: str) -> None:
        """Keep it if the topic is wanted."""
        if topic in self._exact or topic.startswith(self._begins):
            self._messages.append((topic, message))
            self._some.set()

    def missed(self) -> None:
        """Something may have been lost: say so for each topic."""
        for topic in sorted(self._exact):
            self.offer(topic, "")

    def __aiter__(self) -> AsyncIterator[tuple[str, str]]:
        return self

    async def __anext__(self) -> tuple[str, str]:
        """The oldest; may be cancelled and called again."""
        while not self._messages:
            self._some.clear()
            await self._some.wait()
        return self._messages.popleft()
