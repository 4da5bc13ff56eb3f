"""A process that stands still in the middle of a transaction holds nobody up for long."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from aetherium.domain.errors import AetheriumError
from aetherium.interfaces.clock import SystemClock
from aetherium.interfaces.store import Store
from aetherium.storage.store import open_store
from tests.fixtures.waiting import eventually


async def test_another_one_leads(postgres_store_url: str) -> None:
    async with (
        open_store(postgres_store_url, SystemClock()) as still,
        open_store(postgres_store_url, SystemClock()) as other,
    ):
        epoch = await still.leaders.lead("test", "still", lease_s=0.1)
        assert epoch is not None
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def stand_still(store: Store) -> None:
            await store.leaders.lead("test", "still", lease_s=0.1)  # locks the row
            reached.set()
            await go_on.wait()
            await store.leaders.lead("test", "still", lease_s=60.0)

        standing = asyncio.ensure_future(still.transaction(stand_still))
        await reached.wait()
        begin = time.monotonic()
        await eventually(lambda: other.leaders.lead("test", "other", lease_s=60.0), within_s=15)
        assert time.monotonic() - begin > 1.0  # it did wait for the lock
        go_on.set()
        with suppress(AetheriumError):
            await standing
        taken = await other.leaders.lead("test", "other", lease_s=60.0)
        assert taken is not None
        assert taken.number > epoch.number
