"""What a store has to do for leadership."""

from __future__ import annotations

import asyncio

import pytest

from aetherium.domain.errors import Conflict
from aetherium.interfaces.store import Store
from aetherium.interfaces.task_store import LeaderEpoch
from tests.contract.store.databases import Stores


class LeadersContract:
    """Leadership."""

    async def test_one_leads_until_its_lease_is_out(self, stores: Stores) -> None:
        leaders = stores.store.leaders
        assert await leaders.lead("x", "me", lease_s=10) == LeaderEpoch("x", "me", 1)
        assert await leaders.lead("x", "you", lease_s=10) is None
        stores.let_pass(9)
        assert await leaders.lead("x", "me", lease_s=10) == LeaderEpoch("x", "me", 1)
        stores.let_pass(9)
        assert await leaders.lead("x", "you", lease_s=10) is None
        stores.let_pass(2)
        assert await leaders.lead("x", "you", lease_s=10) == LeaderEpoch("x", "you", 2)
        assert await leaders.lead("x", "me", lease_s=10) is None

    async def test_leaderships_are_apart(self, store: Store) -> None:
        assert await store.leaders.lead("x", "me", lease_s=10) is not None
        assert await store.leaders.lead("y", "you", lease_s=10) == LeaderEpoch("y", "you", 1)

    async def test_who_resigns_leaves_it_to_others(self, store: Store) -> None:
        first = await store.leaders.lead("x", "me", lease_s=10)
        assert first is not None
        await store.leaders.resign(first)
        with pytest.raises(Conflict):
            await store.tasks.place([], first)
        second = await store.leaders.lead("x", "you", lease_s=10)
        assert second == LeaderEpoch("x", "you", 2)
        await store.leaders.resign(first)
        assert await store.leaders.lead("x", "me", lease_s=10) is None

    async def test_who_comes_back_after_another_has_a_new_epoch(self, stores: Stores) -> None:
        leaders = stores.store.leaders
        for number, holder in enumerate(("me", "you", "me"), start=1):
            assert await leaders.lead("x", holder, lease_s=1) == LeaderEpoch("x", holder, number)
            stores.let_pass(2)
        with pytest.raises(Conflict):
            await stores.store.tasks.place([], LeaderEpoch("x", "me", 1))

    async def test_of_many_at_once_one_leads(self, stores: Stores) -> None:
        processes = [stores.of_another_process() for _ in range(3)]
        for _ in range(5):
            found = await asyncio.gather(
                *(
                    each.leaders.lead("x", f"{number}-{turn}", lease_s=1)
                    for number, each in enumerate(processes)
                    for turn in range(4)
                )
            )
            assert sum(epoch is not None for epoch in found) == 1
            stores.let_pass(2)
