"""The log of events: what happened, and what happens from now on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager

from aetherium.domain.events import Event
from aetherium.interfaces.bus import EventBus
from aetherium.interfaces.store import Store

# The topic of the bus whose message is the newest `seq`.
EVENTS = "events"
# How often the followers of a process look by themselves, for hints may be lost.
_LOOK_S = 1.0
_PAGE = 500
_WINDOW = 1000


class Newest:
    """The newest `seq` as the followers of a process know it. They look for it together: a thousand idle
    ones cost no more than one."""

    def __init__(self, last: Callable[[], Awaitable[int]]) -> None:
        self._last = last
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self.seq = 0

    def learn(self, seq: int) -> None:
        """There is this one."""
        self.seq = max(self.seq, seq)

    async def look(self) -> None:
        """See what the store has, unless somebody has just done that."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if now - self._looked_at >= _LOOK_S / 2:
                self.learn(await self._last())
                self._looked_at = now


class EventService:
    """See the methods. A type that ends in ``*`` stands for all that begin so."""

    def __init__(self, store: Store, bus: EventBus, newest: Newest | None = None) -> None:
        self._store = store
        self._bus = bus
        self._newest = newest or Newest(store.events.last)

    def of_project(self, project_id: str) -> EventService:
        """The events of one project."""
        return EventService(self._store.of_project(project_id), self._bus, self._newest)

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
        self._newest.learn(await self.last())
        while True:
            last = self._newest.seq
            if last > after:
                async for event in self._read(after, types):
                    yield event
                    after = event.seq
                # Those of other types are passed over once, and not again with every look.
                after = max(after, last)
            await self._hinted(hints)

    async def _hinted(self, hints: AsyncIterator[tuple[str, str]]) -> None:
        try:
            async with asyncio.timeout(_LOOK_S):
                _, newest = await anext(hints)
        except TimeoutError:
            await self._newest.look()
        else:
            self._newest.learn(int(newest))
