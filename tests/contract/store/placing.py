"""What a store has to do for tasks: turns, placement, time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from aetherium.domain.errors import Conflict
from aetherium.domain.ids import new_id
from aetherium.domain.tasks import Demand, Priority, TaskState
from aetherium.domain.vms import Resources, VMState
from aetherium.domain.workers import Usage
from aetherium.interfaces.store import Store
from aetherium.interfaces.task_store import Lane, LeaderEpoch, Outcome, Placement
from tests.contract.store.databases import Stores
from tests.contract.store.values import a_leader, a_task, a_vm, a_worker, accepted, placed, running


async def ready(store: Store) -> list[str]:
    """The tasks that wait for a place, of all lanes."""
    return [task.id for task in await store.tasks.waiting(await store.tasks.lanes(), limit=100)]


class PlacingContract:
    """What the orchestrator asks."""

    async def test_lanes_are_what_takes_turns(self, store: Store) -> None:
        await store.tasks.accept(
            [
                a_task(type=kind, priority=priority, project_id=project)
                for project in ("default", "prj_b")
                for kind in ("a", "b")
                for priority in (Priority.CRITICAL, Priority.LOW)
                for _ in range(3)
            ]
        )
        await accepted(store, type="later", run_at=await store.now() + timedelta(hours=1))
        everything = [
            Lane(rank, project, kind) for rank in (0, 3) for project in ("default", "prj_b") for kind in "ab"
        ]
        assert await store.tasks.lanes() == everything
        assert await store.tasks.lanes(limit=3) == everything[:3]
        found = await store.tasks.lanes(without_types=["a"])
        assert found == [lane for lane in everything if lane.type == "b"]

    async def test_lanes_of_types_that_are_left_out_do_not_count(self, store: Store) -> None:
        await store.tasks.accept([a_task(type=kind) for kind in "aabbccd"])
        found = await store.tasks.lanes(without_types=["a", "b"], limit=2)
        assert [lane.type for lane in found] == ["c", "d"]

    async def test_of_each_lane_the_oldest_wait_first(self, store: Store) -> None:
        tasks = await store.tasks.accept(
            [
                a_task(type=kind, project_id=f"prj_{number}")
                for kind in "ab"
                for number in range(60)
                for _ in "123"
            ]
        )
        lanes = await store.tasks.lanes()
        assert len(lanes) == 120
        found = await store.tasks.waiting(lanes, limit=2)
        for lane in lanes:
            its = [
                task.id for task in tasks if (task.project_id, task.spec.type) == (lane.project_id, lane.type)
            ]
            mine = [
                task.id for task in found if (task.project_id, task.spec.type) == (lane.project_id, lane.type)
            ]
            assert mine == its[:2]
        assert await store.tasks.waiting([], limit=2) == []

    async def test_a_placed_task_waits_no_more(self, store: Store) -> None:
        worker, (one, two) = await a_worker(store), await store.tasks.accept([a_task(), a_task()])
        epoch = await a_leader(store)
        done = await store.tasks.place([Placement(one.id, worker.id), Placement("task_x", worker.id)], epoch)
        assert set(done) == {one.id}
        assert set(await store.tasks.place([Placement(one.id, "wkr_other")], epoch)) == set()
        task = await store.tasks.get(one.id)
        assert (task.state, task.worker_id) == (TaskState.QUEUED, worker.id)
        assert await ready(store) == [two.id]

    async def test_only_the_leader_places(self, store: Store) -> None:
        worker, task = await a_worker(store), await accepted(store)
        epoch = await a_leader(store)
        for wrong in (LeaderEpoch(epoch.name, "you", 1), LeaderEpoch(epoch.name, epoch.holder, 9)):
            with pytest.raises(Conflict):
                await store.tasks.place([Placement(task.id, worker.id)], wrong)
        assert await ready(store) == [task.id]

    async def test_no_task_is_placed_twice(self, stores: Stores) -> None:
        tasks = await stores.store.tasks.accept([a_task() for _ in range(60)])
        processes = [stores.of_another_process() for _ in range(3)]
        workers = [await a_worker(stores.store) for _ in processes]
        epoch = await a_leader(stores.store)

        async def place(process: Store, worker_id: str, part: int) -> set[str]:
            some = tasks[part * 10 : part * 10 + 40]
            return set(await process.tasks.place([Placement(task.id, worker_id) for task in some], epoch))

        done = await asyncio.gather(
            *(
                place(each, worker.id, part)
                for each, worker in zip(processes, workers, strict=True)
                for part in range(3)
            )
        )
        assert sum(len(each) for each in done) == len(set().union(*done)) == 60
        for number, worker in enumerate(workers):
            its = {task.id for task in await stores.store.tasks.list(worker_id=worker.id)}
            assert its == set().union(*done[number * 3 : number * 3 + 3])

    async def test_parked_tasks_are_left_out(self, store: Store) -> None:
        one, two = await store.tasks.accept([a_task(), a_task()])
        await store.tasks.explain({one.id: "No worker has a GPU."}, park=True)
        await store.tasks.explain({two.id: "All workers are busy."}, park=False)
        assert [(await store.tasks.get(each.id)).reason for each in (one, two)] == [
            "No worker has a GPU.",
            "All workers are busy.",
        ]
        assert await ready(store) == [two.id]
        assert await store.tasks.unpark() == 1
        assert await ready(store) == [one.id, two.id]
        worker = await a_worker(store)
        await placed(store, worker, two.id)
        await store.tasks.explain({two.id: "Too late."}, park=True)
        assert (await store.tasks.get(two.id)).reason == ""

    async def test_a_ticket_that_is_not_claimed_is_sent_again(self, stores: Stores) -> None:
        store, worker = stores.store, await a_worker(stores.store)
        late, claimed = await store.tasks.accept([a_task(), a_task()])
        await placed(store, worker, late.id)
        await running(store, worker, claimed.id)
        assert list(await store.tasks.unclaimed(30)) == []
        stores.let_pass(31)
        assert [task.id for task in await store.tasks.unclaimed(30)] == [late.id]
        assert list(await store.tasks.unclaimed(30)) == []
        stores.let_pass(31)
        assert [task.id for task in await store.tasks.unclaimed(30, limit=1)] == [late.id]

    async def test_it_is_taken_from_a_worker_that_takes_nothing(self, store: Store) -> None:
        drained, gone = await a_worker(store), await a_worker(store)
        tasks = await store.tasks.accept([a_task(), a_task(), a_task()])
        for task, worker_id in zip(tasks, (drained.id, gone.id, new_id("wkr")), strict=True):
            await store.tasks.place([Placement(task.id, worker_id)], await a_leader(store))
        await store.workers.drain(drained.id, on=True)
        await store.workers.stop(gone.id, gone.incarnation)
        assert list(await store.tasks.unclaimed(30)) == []
        assert await ready(store) == [task.id for task in tasks]

    async def test_scheduled_tasks_become_due(self, stores: Stores) -> None:
        store, now = stores.store, await stores.store.now()
        times = [now + timedelta(seconds=seconds) for seconds in (30, 10, 20, 3600)]
        tasks = [await accepted(store, run_at=at) for at in times]
        past = await accepted(store, run_at=now - timedelta(days=1))
        assert [task.state for task in (*tasks, past)] == [TaskState.SCHEDULED] * 4 + [TaskState.QUEUED]
        assert await store.tasks.release_due() == 0
        stores.let_pass(31)
        assert await store.tasks.release_due(limit=2) == 2
        assert (await store.tasks.get(tasks[0].id)).state is TaskState.SCHEDULED
        assert await store.tasks.release_due() == 1
        assert await store.tasks.release_due() == 0
        assert [each for each in await ready(store) if each != past.id] == [tasks[n].id for n in (1, 2, 0)]

    async def test_what_is_overdue_ends(self, stores: Stores) -> None:
        store, worker = stores.store, await a_worker(stores.store)
        deadline = await store.now() + timedelta(seconds=10)
        waiting, begun = await store.tasks.accept([a_task(deadline=deadline), a_task(deadline=deadline)])
        later = await accepted(store, deadline=deadline, run_at=deadline + timedelta(1))
        free = await accepted(store)
        behind = await accepted(store, after=(waiting.id,))
        await running(store, worker, begun.id)
        assert list(await store.tasks.end_overdue()) == []
        stores.let_pass(11)
        told = await store.tasks.end_overdue()
        assert [(task.id, task.state) for task in told] == [(begun.id, TaskState.CANCELLING)]
        for task in (waiting, later):
            ended = await store.tasks.get(task.id)
            assert (ended.state, ended.error_code) == (TaskState.DEAD, "deadline_exceeded")
        assert (await store.tasks.get(behind.id)).error_code == "dependency_failed"
        assert list(await store.tasks.end_overdue()) == []
        (ended,) = await store.tasks.finish([Outcome(begun.id, 1, TaskState.CANCELLED)])
        assert (ended.state, ended.error_code) == (TaskState.DEAD, "deadline_exceeded")
        assert (await store.tasks.get(free.id)).state is TaskState.QUEUED

    async def test_what_waits_is_given_up(self, store: Store) -> None:
        worker, (one, two) = await a_worker(store), await store.tasks.accept([a_task(), a_task()])
        await running(store, worker, two.id)
        ended = await store.tasks.give_up([one.id, two.id], error_code="no_worker", error="Nobody.")
        assert [(task.id, task.state, task.error_code) for task in ended] == [
            (one.id, TaskState.DEAD, "no_worker")
        ]
        assert (await store.tasks.get(two.id)).state is TaskState.RUNNING

    async def test_the_load_is_what_is_held_and_vms_that_stay(self, stores: Stores) -> None:
        store, worker = stores.store, await a_worker(stores.store)
        sized = await accepted(store, type="vm.create", demand=Demand(2, 512))
        plain = await accepted(store, project_id="prj_b")
        await accepted(store)
        await placed(store, worker, sized.id)
        await running(store, worker, plain.id)
        view = stores.seen_by(worker.id)
        lasting, owned = a_vm(resources=Resources(4, 1024, 64)), a_vm()
        for vm in (lasting, owned):
            await view.vms.add(vm)
        await view.vms.transition(lasting.id, VMState.RUNNING, owner=None)
        load = await store.tasks.load()
        assert load.workers == {worker.id: Usage(2, 6, 1536, 2)}
        assert load.projects == {"default": Usage(1, 6, 1536, 2), "prj_b": Usage(1)}
        assert load.types == {"vm.create": 1, "test": 1}
        await store.tasks.finish([Outcome(plain.id, 1, TaskState.SUCCEEDED)])
        await view.vms.transition(lasting.id, VMState.FAILED)
        assert (await store.tasks.load()).workers == {worker.id: Usage(1, 2, 512, 1)}
