"""What a store has to do for queues and for the limits of task types."""

from __future__ import annotations

import asyncio

from aetherium.domain.tasks import Priority, TypeLimit
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores


class QueuesContract:
    """Queues and limits."""

    async def test_priorities_are_paused_and_go_on(self, store: Store) -> None:
        assert set(await store.queues.paused()) == set()
        for priority in (Priority.LOW, Priority.HIGH, Priority.LOW):
            await store.queues.pause(priority, on=True)
        assert set(await store.queues.paused()) == {Priority.LOW, Priority.HIGH}
        await store.queues.pause(Priority.LOW, on=False)
        assert set(await store.queues.paused()) == {Priority.HIGH}

    async def test_limits_are_set_changed_and_lifted(self, store: Store) -> None:
        await store.queues.limit("a", TypeLimit(0.5, 3, 7))
        await store.queues.limit("b", TypeLimit(concurrency=1))
        await store.queues.limit("a", TypeLimit(2.0))
        assert await store.queues.limits() == {"a": TypeLimit(2.0), "b": TypeLimit(concurrency=1)}
        await store.queues.limit("a", None)
        await store.queues.limit("c", None)
        assert await store.queues.limits() == {"b": TypeLimit(concurrency=1)}

    async def test_a_bucket_is_emptied_and_filled_again(self, stores: Stores) -> None:
        queues = stores.store.queues
        await queues.limit("a", TypeLimit(0.1, 5))
        assert await queues.take({"a": 3}) == {"a": 3}
        assert await queues.take({"a": 3}) == {"a": 2}
        assert await queues.take({"a": 3}) == {"a": 0}
        stores.let_pass(9)
        assert await queues.take({"a": 3}) == {"a": 0}
        stores.let_pass(1)
        assert await queues.take({"a": 3}) == {"a": 1}
        stores.let_pass(3600)
        assert await queues.take({"a": 9}) == {"a": 5}

    async def test_tokens_are_given_back(self, store: Store) -> None:
        await store.queues.limit("a", TypeLimit(1e-6, 5))
        assert await store.queues.take({"a": 4}) == {"a": 4}
        await store.queues.take({"a": -3})
        assert await store.queues.take({"a": 9}) == {"a": 4}
        await store.queues.take({"a": -9})
        assert await store.queues.take({"a": 9}) == {"a": 5}

    async def test_only_limited_types_are_told(self, store: Store) -> None:
        await store.queues.limit("a", TypeLimit(1.0, 1))
        await store.queues.limit("b", TypeLimit(concurrency=1))
        assert await store.queues.take({}) == {}
        assert await store.queues.take({"free": 9}) == {}
        assert await store.queues.take({"a": 9, "b": 9, "free": 9}) == {"a": 1}

    async def test_no_token_is_taken_twice(self, stores: Stores) -> None:
        await stores.store.queues.limit("a", TypeLimit(1e-6, 20))
        processes = [stores.of_another_process() for _ in range(3)]
        taken = await asyncio.gather(*(each.queues.take({"a": 2}) for each in processes for _ in range(8)))
        assert sum(each["a"] for each in taken) == 20
