"""What a store has to do for events."""

from __future__ import annotations

import asyncio

import pytest

from aetherium.domain.errors import Conflict
from aetherium.domain.events import Event
from aetherium.domain.ids import new_id
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores
from tests.contract.store.values import BEGIN, LONG_S, a_leader


def an_event(kind: str = "vm.running") -> Event:
    """A fact."""
    return Event(new_id("evt"), kind, new_id("vm"), "default", BEGIN, {"a": ["ü", 1]})


class EventsContract:
    """Events."""

    async def test_events_get_their_numbers_in_the_order_of_the_outbox(self, store: Store) -> None:
        epoch, facts = await a_leader(store), [an_event() for _ in range(5)]
        await store.events.emit(facts[:2])
        await store.events.emit(facts[2:])
        assert await store.events.list() == []
        assert await store.events.last() == 0
        first = await store.events.relay(epoch, limit=3)
        second = await store.events.relay(epoch, limit=3)
        assert await store.events.relay(epoch) == ()
        assert [each.seq for each in (*first, *second)] == [1, 2, 3, 4, 5]
        assert [each.id for each in (*first, *second)] == [each.id for each in facts]
        assert (first[0].data, first[0].at, first[0].subject) == (facts[0].data, BEGIN, facts[0].subject)
        assert await store.events.list() == [*first, *second]
        assert await store.events.last() == 5

    async def test_the_log_is_read_from_a_number_on_and_by_type(self, store: Store) -> None:
        kinds = ["vm.running", "vm.stopped", "task.dead", "vmx", "VM.running"]
        await store.events.emit([an_event(kind) for kind in kinds])
        await store.events.relay(await a_leader(store))

        async def seen(*types: str, after: int = 0, limit: int = 500) -> list[int]:
            return [each.seq for each in await store.events.list(after=after, limit=limit, types=types)]

        assert await seen(after=2) == [3, 4, 5]
        assert await seen(after=1, limit=2) == [2, 3]
        assert await seen("vm.running") == [1]
        assert await seen("task.*", "vm.stopped") == [2, 3]
        assert await seen("%") == []
        assert await seen("*") == [1, 2, 3, 4, 5]

    async def test_a_type_is_told_from_others_with_its_beginning(self, store: Store) -> None:
        await store.events.emit([an_event("a_b.x"), an_event("acb.x"), an_event("a_b.y")])
        await store.events.relay(await a_leader(store))
        assert [each.seq for each in await store.events.list(types=["a_b.*"])] == [1, 3]

    async def test_only_the_leader_relays(self, stores: Stores) -> None:
        store, old = stores.store, await a_leader(stores.store)
        await store.events.emit([an_event()])
        stores.let_pass(LONG_S + 1)
        new = await a_leader(store, "you")
        with pytest.raises(Conflict):
            await store.events.relay(old)
        assert len(await store.events.relay(new)) == 1

    async def test_two_relays_at_once_move_each_event_once(self, stores: Stores) -> None:
        epoch = await a_leader(stores.store)
        facts = [an_event() for _ in range(200)]
        await stores.store.events.emit(facts)
        processes = [stores.of_another_process() for _ in range(3)]
        moved = await asyncio.gather(
            *(each.events.relay(epoch, limit=20) for each in processes for _ in range(5))
        )
        assert sum(len(each) for each in moved) == 200
        log = await stores.store.events.list()
        assert [each.seq for each in log] == list(range(1, 201))
        assert {each.id for each in log} == {each.id for each in facts}

    async def test_numbers_go_on_after_a_purge(self, stores: Stores) -> None:
        store, epoch = stores.store, await a_leader(stores.store)
        old = [an_event() for _ in range(3)]
        await store.events.emit(old)
        await store.events.relay(epoch)
        assert await store.events.purge(10 * 365 * 86400) == 0
        assert await store.events.purge(0, limit=1) == 1
        assert await store.events.purge(0) == 1
        assert await store.events.purge(0) == 0
        assert await store.events.last() == 3
        await store.events.emit([an_event()])
        assert [each.seq for each in await store.events.relay(epoch)] == [4]
