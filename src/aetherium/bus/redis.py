"""The bus over Redis: one channel of publish and subscribe for the whole installation.

Every process holds one subscription and sorts the messages out itself; a message is ``topic LF text``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from aetherium.bus.memory import Mailbox
from aetherium.interfaces.bus import EventBus

log = logging.getLogger(__name__)

_CONNECTIONS = 8
_RETRY_S, _LONGEST_RETRY_S = 0.1, 2.0
# Without a message the connection is tried this often, so that a dead one is noticed.
_PING_S = 5.0


class RedisBus:
    """See interfaces/bus.py. Made by `open_redis_bus`."""

    def __init__(self, redis: Redis, channel: str) -> None:
        self._redis = redis
        self._channel = channel
        self._mailboxes: set[Mailbox] = set()
        self._complained = False

    async def publish(self, topic: str, message: str = "") -> None:
        try:
            await self._redis.publish(self._channel, f"{topic}\n{message}")
            self._complained = False
        except (RedisError, OSError, TimeoutError) as error:
            if not self._complained:
                log.warning("Hints cannot be given over Redis now: %s", error)
            self._complained = True

    @asynccontextmanager
    async def listen(self, topics: Sequence[str]) -> AsyncIterator[AsyncIterator[tuple[str, str]]]:
        mailbox = Mailbox(topics)
        self._mailboxes.add(mailbox)
        try:
            yield mailbox
        finally:
            self._mailboxes.discard(mailbox)

    async def run(self, ready: asyncio.Event) -> None:
        """Hand out what comes, until cancelled; `ready` once the first subscription stands."""
        pause = _RETRY_S
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    for mailbox in self._mailboxes:
                        mailbox.missed()
                    pause = _RETRY_S
                    while True:
                        found = await subscription.get_message(timeout=_PING_S)
                        if found is None:
                            await subscription.ping()
                        elif found["type"] == "subscribe":
                            ready.set()
                        elif found["type"] == "message":
                            self._offer(found["data"])
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("The subscription to Redis was cut, and is made again: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_RETRY_S)

    def _offer(self, data: bytes) -> None:
        topic, _, message = data.decode(errors="replace").partition("\n")
        for mailbox in self._mailboxes:
            mailbox.offer(topic, message)


@asynccontextmanager
async def open_redis_bus(url: str, *, prefix: str = "aetherium") -> AsyncIterator[RedisBus]:
    """A bus for the time of the block. It works as soon as Redis does; until then hints are lost."""
    pool = BlockingConnectionPool.from_url(
        url, max_connections=_CONNECTIONS, timeout=5, socket_timeout=10, socket_connect_timeout=5
    )
    redis = Redis(connection_pool=pool)
    bus = RedisBus(redis, f"{prefix}:bus")
    ready = asyncio.Event()
    listener = asyncio.ensure_future(bus.run(ready))
    try:
        try:
            async with asyncio.timeout(2.0):
                await ready.wait()
        except TimeoutError:
            log.warning("Redis does not answer yet; it is tried again and again.")
        yield bus
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        await redis.aclose()
        await pool.aclose()


_: type[EventBus] = RedisBus
