"""Rates over Redis: the contract, several gateways, and what happens when Redis is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from aetherium.domain.errors import InvalidInput
from aetherium.domain.rates import Rate
from aetherium.interfaces.rates import RateLimiter
from aetherium.rates.limiter import open_redis_limiter
from tests.contract.rates.contract import RatesContract
from tests.fixtures.ports import HOST, free_port
from tests.fixtures.proxy import StartProxy
from tests.fixtures.redis import RedisServer

RATE = Rate(2, 60)


class TestRedisLimiter(RatesContract):
    @pytest.fixture
    async def limiter(self, redis_server: RedisServer, redis_prefix: str) -> AsyncIterator[RateLimiter]:
        async with open_redis_limiter(redis_server.url, prefix=redis_prefix) as limiter:
            yield limiter


async def test_gateways_count_together(redis_server: RedisServer, redis_prefix: str) -> None:
    async with (
        open_redis_limiter(redis_server.url, prefix=redis_prefix) as one,
        open_redis_limiter(redis_server.url, prefix=redis_prefix) as other,
    ):
        assert (await one.hit(RATE, "a")).remaining == 1
        assert (await other.hit(RATE, "a")).remaining == 0
        assert not (await one.hit(RATE, "a")).allowed


async def test_without_redis_each_counts_for_itself_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = f"redis://{HOST}:{free_port()}"
    with caplog.at_level(logging.WARNING, "aetherium.rates"):
        async with open_redis_limiter(url) as limiter:
            found = [(await limiter.hit(RATE, "a")).allowed for _ in range(4)]
            assert not (await limiter.look(RATE, "a")).allowed
    assert found == [True, True, False, False]
    assert len(caplog.records) == 1


async def test_redis_that_does_not_answer_holds_nobody_up(
    redis_server: RedisServer, redis_prefix: str, tcp_proxy: StartProxy
) -> None:
    proxy = await tcp_proxy(redis_server.address)
    async with open_redis_limiter(proxy.in_front_of(redis_server.url), prefix=redis_prefix) as limiter:
        assert (await limiter.hit(RATE, "a")).remaining == 1
        proxy.hold()
        async with asyncio.timeout(5):
            found = [(await limiter.hit(RATE, "a")).allowed for _ in range(3)]
        assert found == [True, True, False]
        await proxy.heal()


async def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput):
        async with open_redis_limiter("http://127.0.0.1"):
            pass
