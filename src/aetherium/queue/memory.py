"""A queue in this process: nothing to install, and nothing is left when the process ends."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aetherium.interfaces.queue import Consumer, Delivery, TaskQueue, Ticket


@asynccontextmanager
async def open_memory_queue() -> AsyncIterator[TaskQueue]:
    """A queue for as long as the block lasts."""
    yield MemoryQueue()


@dataclass(frozen=True, slots=True, order=True)
class _Entry:
    """A ticket at its place in a lane. It keeps its place when it is handed back."""

    rank: int
    order: int
    ticket: Ticket = field(compare=False)


@dataclass(eq=False)
class _Lane:
    """Every entry is in `known`, and in one of: `waiting`, `delayed`, the hands of a consumer."""

    known: dict[str, _Entry] = field(default_factory=dict)
    waiting: list[_Entry] = field(default_factory=list)
    delayed: list[tuple[float, _Entry]] = field(default_factory=list)
    paused: bool = False
    readers: int = 0
    published: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def idle(self) -> bool:
        """Whether forgetting it loses nothing."""
        return not (self.known or self.paused or self.readers)

    def add(self, ticket: Ticket, due: float | None) -> None:
        if ticket.key in self.known:
            return
        self.published += 1
        entry = self.known[ticket.key] = _Entry(ticket.rank, self.published, ticket)
        if due is None:
            heapq.heappush(self.waiting, entry)
        else:
            heapq.heappush(self.delayed, (due, entry))
        self.changed.set()

    def pop(self, limit: int, now: float) -> list[_Entry]:
        while self.delayed and self.delayed[0][0] <= now:
            heapq.heappush(self.waiting, heapq.heappop(self.delayed)[1])
        if self.paused:
            return []
        return [heapq.heappop(self.waiting) for _ in range(min(limit, len(self.waiting)))]

    def holds(self, entry: _Entry) -> bool:
        """Whether it was neither acknowledged nor dropped."""
        return self.known.get(entry.ticket.key) is entry

    def put_back(self, entry: _Entry) -> None:
        if self.holds(entry):
            heapq.heappush(self.waiting, entry)
            self.changed.set()

    def remove(self, entry: _Entry) -> None:
        if self.holds(entry):
            del self.known[entry.ticket.key]

    def clear(self) -> None:
        self.known.clear()
        self.waiting.clear()
        self.delayed.clear()
        self.paused = False

    async def wait(self) -> None:
        """Until something may have changed."""
        self.changed.clear()
        due = self.delayed[0][0] if self.delayed and not self.paused else None
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self.changed.wait()


class MemoryQueue:
    """See interfaces/queue.py, TaskQueue. It does not survive its process, and has no use for leases: what a
    consumer holds goes back when it leaves, and it cannot die alone."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}

    async def publish(self, lane: str, tickets: Sequence[Ticket], *, delay_s: float = 0.0) -> None:
        due = asyncio.get_running_loop().time() + delay_s if delay_s > 0 else None
        found = self._lane(lane)
        for ticket in tickets:
            found.add(ticket, due)

    @asynccontextmanager
    async def consume(self, lane: str) -> AsyncIterator[Consumer]:
        found = self._lane(lane)
        found.readers += 1
        consumer = _MemoryConsumer(found)
        try:
            yield consumer
        finally:
            found.readers -= 1
            consumer.give_back()
            self._forget(lane)

    async def depth(self, lane: str) -> int:
        return len(self._lanes[lane].known) if lane in self._lanes else 0

    async def pause(self, lane: str) -> None:
        self._lane(lane).paused = True

    async def resume(self, lane: str) -> None:
        found = self._lane(lane)
        found.paused = False
        found.changed.set()
        self._forget(lane)

    async def drop(self, lane: str) -> None:
        self._lane(lane).clear()
        self._forget(lane)

    async def ping(self) -> None:
        return

    def _lane(self, name: str) -> _Lane:
        return self._lanes.setdefault(name, _Lane())

    def _forget(self, name: str) -> None:
        if self._lane(name).idle:
            del self._lanes[name]


class _MemoryConsumer:
    """See interfaces/queue.py, Consumer."""

    def __init__(self, lane: _Lane) -> None:
        self._lane = lane
        self._held: dict[Delivery, _Entry] = {}
        self._received = 0

    async def receive(self, limit: int) -> Sequence[Delivery]:
        loop = asyncio.get_running_loop()
        while not (entries := self._lane.pop(limit, loop.time())):
            await self._lane.wait()
        self._received += 1  # as the token, it tells a delivery from the next one of the same ticket
        found = {Delivery(entry.ticket, self._received): entry for entry in entries}
        self._held |= found
        return tuple(found)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        for entry in self._answered(deliveries):
            self._lane.remove(entry)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        for entry in self._answered(deliveries):
            self._lane.put_back(entry)

    def give_back(self) -> None:
        """Release what was not answered."""
        for entry in self._answered(tuple(self._held)):
            self._lane.put_back(entry)

    def _answered(self, deliveries: Sequence[Delivery]) -> list[_Entry]:
        return [self._held.pop(each) for each in deliveries if each in self._held]


_: type[TaskQueue] = MemoryQueue
