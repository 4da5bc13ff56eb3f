"""The RateLimiter over the library `limits`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.storage.base import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from aetherium.domain.errors import InvalidInput
from aetherium.domain.rates import Rate, Window
from aetherium.interfaces.rates import RateLimiter

log = logging.getLogger(__name__)

T = TypeVar("T")

_CONNECTIONS = 16
# A request is not held up by its being counted.
_PATIENCE_S = 0.5
# While Redis is away it is tried again after so long; between, nobody waits for it.
_REST_S = 5.0


class _Windows:
    """Windows in one storage: two counters for each name and rate, whatever the rate. Of the last full period
    counts the share that the window still reaches into, as if its requests had come evenly."""

    def __init__(self, storage: Storage) -> None:
        # Both: the strategy holds the storage by a weak reference.
        self.storage = storage
        self._strategy = SlidingWindowCounterRateLimiter(storage)

    async def hit(self, rate: Rate, name: str) -> Window:
        allowed = await self._strategy.hit(_item(rate), name)
        return await self._window(rate, name, allowed=allowed)

    async def look(self, rate: Rate, name: str) -> Window:
        return await self._window(rate, name, allowed=None)

    async def _window(self, rate: Rate, name: str, *, allowed: bool | None) -> Window:
        found = await self._strategy.get_window_stats(_item(rate), name)
        remaining = max(0, found.remaining)
        reset_s = max(0.0, min(float(rate.period_s), found.reset_time - time.time()))
        return Window(rate, remaining > 0 if allowed is None else allowed, remaining, reset_s)


class MemoryLimiter:
    """See interfaces/rates.py. Counts in this process."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._windows = _Windows(self._storage)

    async def hit(self, rate: Rate, name: str) -> Window:
        return await self._windows.hit(rate, name)

    async def look(self, rate: Rate, name: str) -> Window:
        return await self._windows.look(rate, name)

    async def close(self) -> None:
        """End what the library has left running."""
        if (sweeping := self._storage.timer) is not None:
            sweeping.cancel()
            await asyncio.gather(sweeping, return_exceptions=True)


class SharedLimiter:
    """See interfaces/rates.py. Counts in Redis, and while that is away in this process.

    Args:
        now: seconds that pass.
    """

    def __init__(
        self, shared: _Windows, own: MemoryLimiter, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._shared = shared
        self._own = own
        self._now = now
        self._away_until: float | None = None

    async def hit(self, rate: Rate, name: str) -> Window:
        found = await self._asked(lambda: self._shared.hit(rate, name))
        return await self._own.hit(rate, name) if found is None else found

    async def look(self, rate: Rate, name: str) -> Window:
        found = await self._asked(lambda: self._shared.look(rate, name))
        return await self._own.look(rate, name) if found is None else found

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What Redis says; None: it is away."""
        if self._away_until is not None and self._now() < self._away_until:
            return None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                found = await ask()
        except (RedisError, OSError, TimeoutError) as error:
            if self._away_until is None:
                log.warning("Requests are counted by each gateway for itself: %s", error or "no answer")
            self._away_until = self._now() + _REST_S
            return None
        if self._away_until is not None:
            log.info("Requests are counted for all gateways together again.")
            self._away_until = None
        return found


@asynccontextmanager
async def open_memory_limiter() -> AsyncIterator[MemoryLimiter]:
    """One for the time of the block."""
    limiter = MemoryLimiter()
    try:
        yield limiter
    finally:
        await limiter.close()


@asynccontextmanager
async def open_redis_limiter(url: str, *, prefix: str = "aetherium") -> AsyncIterator[SharedLimiter]:
    """One for the time of the block.

    Args:
        url: ``redis://USER:PASSWORD@HOST:PORT``, or ``rediss://`` for TLS.
        prefix: of all keys; one for each installation.

    Raises InvalidInput for a URL that is none.
    """
    pool = _pool(url)
    storage = RedisStorage(
        url,
        implementation="redispy",
        key_prefix=f"{prefix}:rates",
        connection_pool=pool,  # type: ignore[arg-type]  # taken, whatever the annotation says
    )
    try:
        async with open_memory_limiter() as own:
            yield SharedLimiter(_Windows(storage), own)
    finally:
        await pool.aclose()


def _item(rate: Rate) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(rate.amount, rate.period_s)


def _pool(url: str) -> BlockingConnectionPool:
    try:
        return BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_PATIENCE_S,
            # With one, redis-py sends by `wait_for`, which in Python 3.11 can swallow a cancellation.
            socket_timeout=None,
            socket_connect_timeout=_PATIENCE_S,
            retry=Retry(NoBackoff(), 1),  # a connection may have died since the last request
            protocol=2,
        )
    except ValueError as error:
        # Not shown: there may be a password in it.
        raise InvalidInput(
            "The URL of the rate limits is none that is known.",
            hint="Use redis://USER:PASSWORD@HOST:PORT, or rediss:// for TLS.",
            field="url",
        ) from error


_: tuple[type[RateLimiter], type[RateLimiter]] = (MemoryLimiter, SharedLimiter)
