"""One lane in Redis being read."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Sequence

from redis.asyncio import Redis

from aetherium.domain.errors import Unavailable
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.queue import Consumer, Delivery
from aetherium.queue.redis_client import BLOCK_S, answering
from aetherium.queue.redis_lane import Held, RedisLane

log = logging.getLogger(__name__)

_RETRY_S, _LONGEST_RETRY_S = 0.05, 2.0
# Leases are renewed, and those of the dead looked for, so many times in the length of one.
_TURNS = 4
# The shortest wait: Redis takes 0 as "for ever".
_SHORTEST_S = 0.001


class RedisConsumer:
    """See interfaces/queue.py, Consumer. `keep` has to run beside it, and `close` at the end.

    Args:
        waiter: a client of its own, since a waiting command occupies its connection.
    """

    def __init__(self, lane: RedisLane, waiter: Redis, lease_s: float) -> None:
        self._lane = lane
        self._waiter = waiter
        self._turn_s = lease_s / _TURNS
        self._id = secrets.token_hex(8)
        self._fetches = 0
        # What a cancelled `receive` has fetched is in both.
        self._held: dict[str, Held] = {}
        self._ready: deque[Delivery] = deque()
        self._waiting = 0
        self._next_at: float | None = None
        self._turn = asyncio.Lock()

    async def receive(self, limit: int) -> Sequence[Delivery]:
        async with self._turn:  # there is one connection to wait with
            if not self._ready:
                await self._fill(limit)
            return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        try:
            await finish(self._lane.finish(self._answered(deliveries)))
        except Unavailable as error:
            log.warning("%d tickets cannot be acknowledged, and may come again: %s", len(deliveries), error)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        try:
            await finish(self._lane.put_back(self._answered(deliveries)))
        except Unavailable as error:
            log.warning("%d tickets come again only after their lease: %s", len(deliveries), error)

    async def keep(self) -> None:
        """Renew what is held, and look for what nobody renews, until cancelled."""
        while True:
            try:
                await self._renew()
                # Half a turn: the last call may have been a little late.
                recovered = await self._lane.recover(self._turn_s / 2)
                if recovered:
                    log.info("%d tickets were received by somebody who has died.", len(recovered))
            except Unavailable as error:
                log.info("Leases cannot be renewed now: %s", error)
            await asyncio.sleep(self._turn_s)

    async def close(self) -> None:
        """Release what was not answered."""
        self._ready.clear()
        held = tuple(self._held.values())
        self._held.clear()
        try:
            await self._lane.put_back(held)
        except Unavailable as error:
            log.warning("%d tickets come again only after their lease: %s", len(held), error)

    async def _fill(self, limit: int) -> None:
        """Return when something is ready."""
        pause = _RETRY_S
        while not self._ready:
            try:
                # Not to be cut: what Redis has handed out has to be noted.
                await finish(self._fetch(limit))
                if not self._ready:
                    await self._wait()
                pause = _RETRY_S
            except Unavailable as error:
                log.warning("No tickets can be received now: %s", error)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
                pause = min(2 * pause, _LONGEST_RETRY_S)

    async def _fetch(self, limit: int) -> None:
        """What can be had now. One round trip when as much waits as did at the last."""
        while (room := limit - len(self._ready)) > 0:
            self._fetches += 1
            token = f"{self._id}:{self._fetches}"
            taken = await self._lane.take(min(room, max(self._waiting, 1)), token)
            self._waiting, self._next_at = taken.waiting, taken.next_at
            for ticket in taken.tickets:
                self._held[ticket.key] = Held(ticket.key, token)
                self._ready.append(Delivery(ticket, token))
            if not (taken.full and taken.waiting):
                return

    async def _wait(self) -> None:
        seconds = BLOCK_S if self._next_at is None else self._next_at - time.time()
        async with answering():
            await self._waiter.bzpopmin(self._lane.marker, max(_SHORTEST_S, min(seconds, BLOCK_S)))

    async def _renew(self) -> None:
        held = dict(self._held)
        if held:
            for key in await self._lane.renew(tuple(held.values())):
                if self._held.get(key) is held[key]:
                    del self._held[key]

    def _answered(self, deliveries: Sequence[Delivery]) -> Sequence[Held]:
        answered = [Held(each.ticket.key, str(each.token)) for each in deliveries]
        for each in answered:
            if self._held.get(each.key) == each:
                del self._held[each.key]
        return answered


_: type[Consumer] = RedisConsumer
