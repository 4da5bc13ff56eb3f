"""What every RateLimiter has to do. Subclasses give a `limiter` fixture."""

from __future__ import annotations

import asyncio

import pytest

from aetherium.domain.rates import Rate
from aetherium.interfaces.rates import RateLimiter


class RatesContract:
    """All of it."""

    @pytest.fixture
    def limiter(self) -> RateLimiter:
        raise NotImplementedError

    async def test_no_more_than_the_rate_is_allowed(self, limiter: RateLimiter) -> None:
        rate = Rate(3, 60)
        found = [await limiter.hit(rate, "a") for _ in range(5)]
        assert [window.allowed for window in found] == [True, True, True, False, False]
        assert [window.remaining for window in found] == [2, 1, 0, 0, 0]
        assert 0 < found[-1].reset_s <= 60

    async def test_names_and_rates_are_counted_apart(self, limiter: RateLimiter) -> None:
        for rate, name in ((Rate(1, 60), "a"), (Rate(1, 60), "b"), (Rate(1, 3600), "a")):
            assert (await limiter.hit(rate, name)).allowed

    async def test_looking_counts_nothing(self, limiter: RateLimiter) -> None:
        rate = Rate(1, 60)
        for _ in range(3):
            assert (await limiter.look(rate, "a")).allowed
        await limiter.hit(rate, "a")
        assert not (await limiter.look(rate, "a")).allowed

    async def test_of_many_at_once_as_many_as_the_rate_are_allowed(self, limiter: RateLimiter) -> None:
        found = await asyncio.gather(*(limiter.hit(Rate(50, 60), "a") for _ in range(100)))
        assert sum(window.allowed for window in found) == 50
