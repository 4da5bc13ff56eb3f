"""What a store has to do for several calls in one transaction."""

from __future__ import annotations

import asyncio

import pytest

from aetherium.domain.errors import AlreadyExists, NotFound
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores
from tests.contract.store.values import a_job, a_task, a_vm, accepted


class TransactionsContract:
    """Transactions, and the store's time."""

    async def test_all_of_it_is_done(self, store: Store) -> None:
        job = a_job()

        async def work(bound: Store) -> str:
            task = await accepted(bound)
            await bound.jobs.add(job)
            assert await bound.jobs.get(job.id) == job
            return task.id

        task_id = await store.transaction(work)
        assert (await store.tasks.get(task_id)).id == task_id
        assert await store.jobs.get(job.id) == job

    async def test_or_nothing(self, store: Store) -> None:
        job = a_job()

        async def work(bound: Store) -> None:
            await bound.jobs.add(job)
            await accepted(bound, after=("task_0000000000000000",))

        with pytest.raises(NotFound):
            await store.transaction(work)
        with pytest.raises(NotFound):
            await store.jobs.get(job.id)

    async def test_a_call_that_is_refused_leaves_the_others(self, store: Store) -> None:
        await store.vms.add(a_vm(name="taken"))

        async def work(bound: Store) -> str:
            with pytest.raises(AlreadyExists):
                await bound.vms.add(a_vm(name="taken"))
            return (await accepted(bound)).id

        assert await store.tasks.get(await store.transaction(work)) is not None

    async def test_a_worker_has_its_view_in_it(self, stores: Stores) -> None:
        vm = a_vm()
        await stores.seen_by("wkr_1").transaction(lambda bound: bound.vms.add(vm))
        assert (await stores.store.vms.get(vm.id)).worker_id == "wkr_1"

    async def test_of_many_with_one_key_one_is_accepted(self, stores: Stores) -> None:
        processes = [stores.of_another_process() for _ in range(3)]

        async def work(bound: Store) -> str:
            return (await bound.tasks.accept([a_task(key="once")]))[0].id

        found = await asyncio.gather(*(each.transaction(work) for each in processes for _ in range(4)))
        assert len(set(found)) == 1

    async def test_time_goes_on(self, stores: Stores) -> None:
        before = await stores.store.now()
        stores.let_pass(100)
        assert 100 <= ((await stores.store.now()) - before).total_seconds() < 200
