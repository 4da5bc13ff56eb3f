"""What a store has to do for workers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aetherium.domain.errors import Conflict, NotFound
from aetherium.domain.executions import ExecutionState
from aetherium.domain.ids import new_id
from aetherium.domain.tasks import Retry, TaskState
from aetherium.domain.vms import VMState
from aetherium.domain.workers import Capacity, WorkerInfo, WorkerState
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores
from tests.contract.store.values import (
    LONG_S,
    a_leader,
    a_vm,
    a_worker,
    accepted,
    an_execution,
    placed,
    running,
)

NO_PAUSE = Retry(3, base_s=0.0)


class WorkersContract:
    """Workers."""

    async def test_a_worker_comes_back_as_it_was(self, store: Store) -> None:
        info = WorkerInfo(
            new_id("wkr"), "host-1", "unix:/run/x", "1.0", Capacity(7, 8, 9), ("qemu",), {"zone": "a"},
            ("sha256:1",), {"sha256:1": 2},
        )  # fmt: skip
        worker = await store.workers.register(info, lease_s=LONG_S)
        assert (worker.info, worker.state, worker.incarnation) == (info, WorkerState.ACTIVE, 1)
        assert (worker.lease_until - worker.seen_at).total_seconds() == pytest.approx(LONG_S, abs=5)
        for ref in (info.id, "host-1", info.id[:19]):
            assert await store.workers.find(ref) == worker
        assert await store.workers.get(info.id) == worker
        with pytest.raises(NotFound):
            await store.workers.get(new_id("wkr"))

    async def test_private_ones_are_listed_when_asked_for(self, store: Store) -> None:
        public, private = await a_worker(store), await a_worker(store, private=True)
        assert await store.workers.list() == [public]
        assert {each.id for each in await store.workers.list(private=True)} == {public.id, private.id}

    async def test_of_one_name_the_one_that_is_present_is_found(self, stores: Stores) -> None:
        gone, here = (WorkerInfo(new_id("wkr"), "host") for _ in range(2))
        await stores.store.workers.register(here, lease_s=LONG_S)
        await stores.store.workers.register(gone, lease_s=1)
        stores.let_pass(2)
        await stores.store.workers.lose()
        assert (await stores.store.workers.find("host")).id == here.id

    async def test_a_heartbeat_renews_the_lease(self, stores: Stores) -> None:
        worker = await a_worker(stores.store)
        stores.let_pass(LONG_S - 1)
        later = await stores.store.workers.heartbeat(
            replace(worker.info, images=("sha256:2",)), worker.incarnation, lease_s=LONG_S
        )
        stores.let_pass(LONG_S - 60)
        assert not await stores.store.workers.lose()
        assert later.info.images == ("sha256:2",)
        assert await stores.store.workers.get(worker.id) == later

    async def test_an_incarnation_that_is_over_has_no_heartbeat(self, stores: Stores) -> None:
        store, worker = stores.store, await a_worker(stores.store)
        again = await store.workers.register(worker.info, lease_s=1)
        assert again.incarnation == worker.incarnation + 1
        with pytest.raises(Conflict):
            await store.workers.heartbeat(worker.info, worker.incarnation, lease_s=LONG_S)
        await store.workers.stop(worker.id, worker.incarnation)
        assert (await store.workers.get(worker.id)).state is WorkerState.ACTIVE
        stores.let_pass(2)
        assert [lost.id for lost in await store.workers.lose()] == [worker.id]
        with pytest.raises(Conflict):
            await store.workers.heartbeat(worker.info, again.incarnation, lease_s=LONG_S)

    async def test_a_lost_worker_loses_its_tasks(self, stores: Stores) -> None:
        store = stores.store
        worker = await store.workers.register(WorkerInfo(new_id("wkr"), "w"), lease_s=10)
        begun = await running(store, worker, (await accepted(store, retry=NO_PAUSE)).id)
        ending = await running(store, worker, (await accepted(store)).id)
        await store.tasks.cancel([ending.id], reason="No more.")
        waiting = await accepted(store)
        await placed(store, worker, waiting.id)
        stores.let_pass(11)
        assert [(each.id, each.state) for each in await store.workers.lose()] == [
            (worker.id, WorkerState.LOST)
        ]
        assert not await store.workers.lose()
        retried = await store.tasks.get(begun.id)
        assert (retried.state, retried.failures, retried.worker_id) == (TaskState.QUEUED, 1, None)
        assert [each.error_code for each in await store.tasks.attempts(begun.id)] == ["worker_lost"]
        assert (await store.tasks.get(ending.id)).state is TaskState.CANCELLED
        assert (await store.tasks.get(waiting.id)).worker_id is None
        assert await store.tasks.held(worker.id) == []

    async def test_registering_anew_and_stopping_lose_them_too(self, store: Store) -> None:
        worker = await a_worker(store)
        task = await accepted(store, retry=NO_PAUSE)
        await running(store, worker, task.id)
        worker = await store.workers.register(worker.info, lease_s=LONG_S)
        assert (await store.tasks.get(task.id)).failures == 1
        await running(store, worker, task.id)
        await store.workers.stop(worker.id, worker.incarnation)
        assert (await store.tasks.get(task.id)).failures == 2
        assert (await store.workers.get(worker.id)).state is WorkerState.STOPPED
        assert not await store.tasks.claim([(task.id, 3)], worker.id, worker.incarnation)

    async def test_draining_outlives_a_restart(self, store: Store) -> None:
        worker = await a_worker(store)
        assert (await store.workers.drain(worker.info.name, on=True)).state is WorkerState.DRAINING
        again = await store.workers.register(worker.info, lease_s=LONG_S)
        assert (again.state, again.drain) == (WorkerState.DRAINING, True)
        back = await store.workers.drain(worker.id, on=False)
        assert (back.state, back.drain) == (WorkerState.ACTIVE, False)

    async def test_draining_what_is_not_there_is_noted(self, store: Store) -> None:
        worker = await a_worker(store)
        await store.workers.stop(worker.id, worker.incarnation)
        noted = await store.workers.drain(worker.id, on=True)
        assert (noted.state, noted.drain) == (WorkerState.STOPPED, True)

    async def test_parked_tasks_get_another_chance(self, stores: Stores) -> None:
        store, task = stores.store, await accepted(stores.store)
        info = WorkerInfo(new_id("wkr"), "w")

        async def parked() -> bool:
            found = await store.tasks.lanes()
            await store.tasks.explain({task.id: "No worker fits."}, park=True)
            return not found

        assert not await parked()
        assert await parked()
        worker = await store.workers.register(info, lease_s=10)
        assert not await parked()
        await store.workers.heartbeat(info, worker.incarnation, lease_s=10)
        assert await parked()
        changed = replace(info, images=("sha256:3",), labels={"gpu": "yes"})
        await store.workers.heartbeat(changed, worker.incarnation, lease_s=10)
        assert not await parked()
        await store.workers.drain(worker.id, on=True)
        assert not await parked()
        stores.let_pass(11)
        await store.workers.lose()
        assert not await parked()

    async def test_what_happens_to_workers_is_an_event(self, stores: Stores) -> None:
        store = stores.store
        worker = await store.workers.register(WorkerInfo(new_id("wkr"), "w"), lease_s=10)
        await store.workers.drain(worker.id, on=True)
        stores.let_pass(11)
        await store.workers.lose()
        worker = await store.workers.register(worker.info, lease_s=10)
        await store.workers.stop(worker.id, worker.incarnation)
        facts = await store.events.relay(await a_leader(store))
        assert [fact.type for fact in facts] == [
            "worker.registered",
            "worker.draining",
            "worker.lost",
            "worker.registered",
            "worker.stopped",
        ]
        assert {fact.subject for fact in facts} == {worker.id}

    async def test_removing_one_fails_its_vms(self, stores: Stores) -> None:
        store, worker = stores.store, await a_worker(stores.store)
        view = stores.seen_by(worker.id)
        living, stopped, strange = a_vm(), a_vm(), a_vm()
        await view.vms.add(living)
        await view.vms.add(stopped)
        await store.vms.add(strange)
        await store.vms.transition(stopped.id, VMState.STOPPING)
        await store.vms.transition(stopped.id, VMState.STOPPED, reason="done")
        await store.executions.save([an_execution(living)])
        with pytest.raises(Conflict):
            await store.workers.remove(worker.id)
        await store.workers.stop(worker.id, worker.incarnation)
        assert await store.workers.remove(worker.id)
        assert not await store.workers.remove(worker.id)
        failed = await store.vms.get(living.id)
        assert (failed.state, failed.reason) == (VMState.FAILED, "its worker was removed")
        assert (await store.executions.list(living.id))[0].state is ExecutionState.LOST
        assert (await store.vms.get(stopped.id)).reason == "done"
        assert (await store.vms.get(strange.id)).state is VMState.CREATING
