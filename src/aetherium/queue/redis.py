"""The queue over Redis. See redis_lane.py for how it lies there.

Redis should keep an append-only file, and evict nothing (``maxmemory-policy noeviction``). What it loses all
the same is sent again by the orchestrator.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from aetherium.interfaces.background import beside
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.queue import Consumer, TaskQueue, Ticket
from aetherium.queue.bullmq_engine import Engine
from aetherium.queue.redis_client import answering, connected
from aetherium.queue.redis_consumer import RedisConsumer
from aetherium.queue.redis_lane import RedisLane

# Commands at once; others wait. A reader has one more, for waiting.
_CONNECTIONS = 8


@asynccontextmanager
async def open_redis_queue(
    url: str, *, prefix: str = "aetherium", lease_s: float = 30.0
) -> AsyncIterator[TaskQueue]:
    """A queue for the time of the block. Nothing is asked of Redis yet.

    Args:
        url: ``redis://USER:PASSWORD@HOST:PORT/DATABASE``, or ``rediss://`` for TLS.
        prefix: of all keys; one for each installation.
        lease_s: what a reader that was killed had received comes again after this, and a quarter more.

    Raises InvalidInput for a URL that is none.
    """
    async with connected(url, _CONNECTIONS) as client:
        yield RedisQueue(client, url, prefix, lease_s)


class RedisQueue:
    """See interfaces/queue.py, TaskQueue. Made by `open_redis_queue`."""

    def __init__(self, client: Redis, url: str, prefix: str, lease_s: float) -> None:
        self._client = client
        self._engine = Engine(client, f"{prefix}:queue")
        self._url = url
        self._lease_s = lease_s

    async def publish(self, lane: str, tickets: Sequence[Ticket], *, delay_s: float = 0.0) -> None:
        await self._lane(lane).add(tickets, delay_s)

    @asynccontextmanager
    async def consume(self, lane: str) -> AsyncIterator[Consumer]:
        async with connected(self._url, 1) as waiter:
            consumer = RedisConsumer(self._lane(lane), waiter, self._lease_s)
            async with beside(consumer.keep(), f"leases of {lane}"):
                try:
                    yield consumer
                finally:
                    await finish(consumer.close())

    async def depth(self, lane: str) -> int:
        return await self._lane(lane).depth()

    async def pause(self, lane: str) -> None:
        await self._lane(lane).pause(True)

    async def resume(self, lane: str) -> None:
        await self._lane(lane).pause(False)

    async def drop(self, lane: str) -> None:
        await self._lane(lane).drop()

    async def ping(self) -> None:
        async with answering():
            await self._client.ping()

    def _lane(self, name: str) -> RedisLane:
        return RedisLane(self._engine, name, self._lease_s)


_: type[TaskQueue] = RedisQueue
