"""The log of events: what happened, and what happens from now on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from aetherium.domain.events import Event
from aetherium.interfaces.bus import EventBus
from aetherium.interfaces.store import Store

# The topic of the bus whose message is the newest `seq`.
EVENTS = "events"
# How often a follower looks by itself, for hints may be lost.
_LOOK_S = 1.0
_PAGE = 500
_WINDOW = 1000


class EventService:
    """See the methods. A type that ends in ``*`` stands for all that begin so."""

    def __init__(self, store: Store, bus: EventBus) -> None:
        self._store = store
        self._bus = bus

    def of_project(self, project_id: str) -> EventService:
        """The events of one project."""
        return EventService(self._store.of_project(project_id), self._bus)

    async def list(
        self, *, after: int = 0, limit: int = _PAGE, types: Collection[str] = ()
    ) -> Sequence[Event]:
        """By `seq`."""
        return await self._store.events.list(after=after, limit=limit, types=types)

    async def last(self) -> int:
        """The newest `seq`; 0 before the first event."""
        return await self._store.events.last()

    async def before_newest(self, count: int, *, types: Collection[str] = ()) -> int:
        """The `seq` after which the newest `count` come."""
        last, window = await self.last(), max(_WINDOW, count)
        while count:
            begin = max(0, last - window)
            found = await self.list(after=begin, limit=window, types=types)
            if len(found) >= count:
                return found[-count].seq - 1
            if begin == 0:
                return 0
            window *= 8  # few of them are of these types
        return last

    @asynccontextmanager
    async def read(
        self, *, after: int = 0, types: Collection[str] = ()
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """All after the `seq` `after` that there are."""
        yield self._read(after, types)

    async def _read(self, after: int, types: Collection[str]) -> AsyncIterator[Event]:
        while found := await self.list(after=after, types=types):
            for event in found:
                yield event
            after = found[-1].seq
            if len(found) < _PAGE:
                return

    @asynccontextmanager
    async def follow(
        self, *, after: int = 0, types: Collection[str] = ()
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """All after the `seq` `after`, and those that happen while the block lasts."""
        async with self._bus.listen([EVENTS]) as hints:
            yield self._follow(hints, after, types)

    async def _follow(
        self, hints: AsyncIterator[tuple[str, str]], after: int, types: Collection[str]
    ) -> AsyncIterator[Event]:
        while True:
            last = await self.last()
            async for event in self._read(after, types):
                yield event
                after = event.seq
            # Those of other types are passed over once, and not again with every look.
            after = max(after, last)
            await _hinted(hints)


async def _hinted(hints: AsyncIterator[tuple[str, str]]) -> None:
    try:
        async with asyncio.timeout(_LOOK_S):
            await anext(hints)
    except TimeoutError:
        return
