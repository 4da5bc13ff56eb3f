"""The queue within one process: fed from the database, and gone with the process."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aetherium.interfaces.queue import Consumer, Delivery, TaskQueue, Ticket


@dataclass
class _Lane:
    heap: list[tuple[int, int, Ticket]] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)
    held: int = 0
    delayed: int = 0
    paused: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryQueue:
    """See interfaces/queue.py. Made by `open_memory_queue`."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._order = itertools.count()
        self._timers: set[asyncio.TimerHandle] = set()

    async def publish(self, lane: str, tickets: Sequence[Ticket], *, delay_s: float = 0.0) -> None:
        found = self._lane(lane)
        if delay_s <= 0:
            self._put(found, tickets)
            return
        found.delayed += len(tickets)

        def due() -> None:
            self._timers.discard(timer)
            found.delayed -= len(tickets)
            self._put(found, tickets)

        timer = asyncio.get_running_loop().call_later(delay_s, due)
        self._timers.add(timer)

    @asynccontextmanager
    async def consume(self, lane: str) -> AsyncIterator[Consumer]:
        consumer = _Consumer(self, self._lane(lane))
        try:
            yield consumer
        finally:
            consumer.close()

    async def depth(self, lane: str) -> int:
        found = self._lane(lane)
        return len(found.heap) + found.held + found.delayed

    async def pause(self, lane: str) -> None:
        self._lane(lane).paused = True

    async def resume(self, lane: str) -> None:
        found = self._lane(lane)
        found.paused = False
        found.changed.set()

    async def drop(self, lane: str) -> None:
        found = self._lanes.get(lane)
        if found is not None:
            found.heap.clear()
            found.waiting.clear()

    async def ping(self) -> None:
        """It is always there."""

    def close(self) -> None:
        """Forget everything."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._lanes.clear()

    def _lane(self, name: str) -> _Lane:
        return self._lanes.setdefault(name, _Lane())

    def _put(self, lane: _Lane, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            if ticket.key not in lane.waiting:
                lane.waiting.add(ticket.key)
                heapq.heappush(lane.heap, (ticket.rank, next(self._order), ticket))
        lane.changed.set()


class _Consumer:
    def __init__(self, queue: MemoryQueue, lane: _Lane) -> None:
        self._queue = queue
        self._lane = lane
        self._held: dict[str, Ticket] = {}

    async def receive(self, limit: int) -> Sequence[Delivery]:
        lane = self._lane
        while lane.paused or not lane.heap:
            lane.changed.clear()
            await lane.changed.wait()
        taken = [heapq.heappop(lane.heap)[2] for _ in range(min(limit, len(lane.heap)))]
        for ticket in taken:
            lane.waiting.discard(ticket.key)
            self._held[ticket.key] = ticket
        lane.held += len(taken)
        return [Delivery(ticket) for ticket in taken]

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        self._forget(deliveries)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        self._queue._put(self._lane, self._forget(deliveries))

    def close(self) -> None:
        """What was not answered goes back."""
        self._queue._put(self._lane, self._forget([Delivery(ticket) for ticket in self._held.values()]))

    def _forget(self, deliveries: Sequence[Delivery]) -> list[Ticket]:
        known = [each.ticket for each in deliveries if self._held.pop(each.ticket.key, None) is not None]
        self._lane.held -= len(known)
        return known


@asynccontextmanager
async def open_memory_queue() -> AsyncIterator[MemoryQueue]:
    """A queue for the time of the block."""
    queue = MemoryQueue()
    try:
        yield queue
    finally:
        queue.close()


_: tuple[type[TaskQueue], type[Consumer]] = (MemoryQueue, _Consumer)
