"""Rates in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aetherium.interfaces.rates import RateLimiter
from aetherium.rates.limiter import open_memory_limiter
from tests.contract.rates.contract import RatesContract


class TestMemoryLimiter(RatesContract):
    @pytest.fixture
    async def limiter(self) -> AsyncIterator[RateLimiter]:
        async with open_memory_limiter() as limiter:
            yield limiter
