"""Counts requests, so that nobody takes more than a share."""

from __future__ import annotations

from typing import Protocol

from aetherium.domain.rates import Rate, Window


class RateLimiter(Protocol):
    """Moving windows by name; all processes that share them count together. Never raises for want of a
    server: it then counts by itself."""

    async def hit(self, rate: Rate, name: str) -> Window:
        """Count one, if it is allowed."""
        ...

    async def look(self, rate: Rate, name: str) -> Window:
        """As `hit`, and count nothing."""
        ...
