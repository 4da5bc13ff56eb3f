"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class MockClock:
    """A Clock (interfaces/clock.py) whose time passes by `advance` only."""

    def __init__(self, begin: datetime = _BEGIN) -> None:
        self._now = begin
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The time, with the zone UTC."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return when the time has been advanced by that much."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sleeper = (self._now + timedelta(seconds=seconds), woken)
        self._sleepers.append(sleeper)
        try:
            await woken
        finally:
            self._sleepers.remove(sleeper)

    @property
    def sleeping(self) -> int:
        """How many wait."""
        return len(self._sleepers)

    def advance(self, seconds: float) -> None:
        """Let time pass; whoever has slept long enough wakes, the earliest first."""
        self._now += timedelta(seconds=seconds)
        for until, woken in sorted(self._sleepers, key=lambda sleeper: sleeper[0]):
            if until <= self._now and not woken.done():
                woken.set_result(None)
