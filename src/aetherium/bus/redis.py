"""The bus over Redis: one channel of publish and subscribe for the whole installation.

Every process holds one subscription and sorts the messages out itself; a message is ``topic LF text``.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from aetherium.bus.mailbox import Mailbox
from aetherium.domain.errors import InvalidInput
from aetherium.interfaces.background import beside
from aetherium.interfaces.bus import EventBus

log = logging.getLogger(__name__)

_CONNECTIONS = 8
_RETRY_S, _LONGEST_RETRY_S = 0.1, 2.0
# A hint that takes longer to give is lost: whoever gives it has better things to do.
_PATIENCE_S = 2.0


class RedisBus:
    """See interfaces/bus.py. Made by `open_redis_bus`.

    Args:
        quiet_s: after so long without a message the connection is tried, and given up after as much again.
    """

    def __init__(self, speaker: Redis, hearer: Redis, channel: str, quiet_s: float) -> None:
        self._speaker = speaker
        self._hearer = hearer
        self._channel = channel
        self._quiet_s = quiet_s
        self._mailboxes: set[Mailbox] = set()
        self._complained = False
        self._pause_s = _RETRY_S
        self.subscribed = asyncio.Event()

    async def publish(self, topic: str, message: str = "") -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._speaker.publish(self._channel, f"{topic}\n{message}")
            self._complained = False
        except (RedisError, OSError) as error:
            if not self._complained:
                log.warning("Hints cannot be given over Redis now: %s", str(error) or "no answer")
            self._complained = True

    @asynccontextmanager
    async def listen(self, topics: Sequence[str]) -> AsyncIterator[AsyncIterator[tuple[str, str]]]:
        mailbox = Mailbox(topics)
        self._mailboxes.add(mailbox)
        try:
            yield mailbox
        finally:
            self._mailboxes.discard(mailbox)

    async def run(self) -> None:
        """Hand out what comes, until cancelled."""
        while True:
            try:
                async with self._hearer.pubsub() as subscription:
                    async with asyncio.timeout(_PATIENCE_S):
                        await subscription.subscribe(self._channel)
                    await self._hand_out(subscription)
            except (RedisError, OSError) as error:
                log.warning(
                    "There is no subscription to Redis, and it is made again: %s", str(error) or "no answer"
                )
            self.subscribed.clear()
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1))  # noqa: S311 - jitter
            self._pause_s = min(2 * self._pause_s, _LONGEST_RETRY_S)

    async def _hand_out(self, subscription: PubSub) -> None:
        asked = False
        while True:
            found = await subscription.get_message(timeout=self._quiet_s)
            if found is None:
                if asked:
                    raise RedisConnectionError(f"no answer within {self._quiet_s:g} seconds")
                await subscription.ping()
            elif found["type"] == "subscribe":
                self._begin()
            elif found["type"] == "message":
                self._offer(found["data"])
            asked = found is None

    def _begin(self) -> None:
        # Who listens already has listened to nothing until now.
        for mailbox in self._mailboxes:
            mailbox.missed()
        self._pause_s = _RETRY_S
        self.subscribed.set()

    def _offer(self, data: str) -> None:
        topic, _, message = data.partition("\n")
        for mailbox in self._mailboxes:
            mailbox.offer(topic, message)


@asynccontextmanager
async def open_redis_bus(
    url: str, *, prefix: str = "aetherium", quiet_s: float = 5.0
) -> AsyncIterator[RedisBus]:
    """A bus for the time of the block. It works as soon as Redis does; until then hints are lost.

    Args:
        url: ``redis://USER:PASSWORD@HOST:PORT``, or ``rediss://`` for TLS.
        prefix: one for each installation: channels are the same in all databases of a Redis.
        quiet_s: see RedisBus.

    Raises InvalidInput for a URL that is none.
    """
    # A hint that is given twice is harmless, and a connection may have died since the last one. The
    # subscription is not to be made again by redis-py: nobody would hear that something was missed.
    async with (
        Redis.from_pool(_pool(url, _CONNECTIONS, retries=1)) as speaker,
        Redis.from_pool(_pool(url, 1, retries=0)) as hearer,
    ):
        bus = RedisBus(speaker, hearer, f"{prefix}:bus", quiet_s)
        async with beside(bus.run(), "bus"):
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await bus.subscribed.wait()
            yield bus


def _pool(url: str, connections: int, retries: int) -> BlockingConnectionPool:
    try:
        return BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=5,
            # With one, redis-py sends by `wait_for`, which in Python 3.11 can swallow a cancellation.
            socket_timeout=None,
            socket_connect_timeout=5,
            retry=Retry(NoBackoff(), retries),
            decode_responses=True,
            encoding_errors="replace",
            protocol=2,
        )
    except ValueError as error:
        # Not shown: there may be a password in it.
        raise InvalidInput(
            "The URL of the bus is none that is known.",
            hint="Use redis://USER:PASSWORD@HOST:PORT, or rediss:// for TLS.",
            field="url",
        ) from error


_: type[EventBus] = RedisBus
