"""What a store has to do for tasks: accepting and looking."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from aetherium.domain.errors import AlreadyExists, NotFound
from aetherium.domain.ids import new_id
from aetherium.domain.tasks import Demand, Priority, Retry, Task, TaskSpec, TaskState
from aetherium.interfaces.store import Store
from aetherium.interfaces.task_store import NewTask, Outcome
from tests.contract.store.databases import Stores
from tests.contract.store.values import a_leader, a_task, a_worker, accepted, running


class AcceptingContract:
    """Accepting tasks, finding and counting them."""

    async def test_a_task_comes_back_as_it_was(self, store: Store) -> None:
        at = await store.now() + timedelta(days=1)
        spec = TaskSpec(
            "test", {"a": [1, None, "ü"]}, Priority.HIGH,
            Demand(2, 512, "qemu", "base", {"zone": "a"}, "wkr_1"), Retry(5, 0.5, 7.0), 1.5, at,
            at + timedelta(1), (), "nightly", "once", 60.0, 3600.0, {"x": "y"},
        )  # fmt: skip
        new = NewTask(new_id("task"), "default", spec, "key", "sched_1", b"secret")
        (task,) = await store.tasks.accept([new])
        assert (task.id, task.spec, task.state, task.attempt) == (new.id, spec, TaskState.SCHEDULED, 0)
        assert (task.schedule_id, task.run_at) == ("sched_1", at)
        for ref in (task.id, task.id[:20]):
            assert await store.tasks.find(ref) == task
        assert await store.tasks.get(task.id) == task
        assert await store.tasks.sealed(task.id) == b"secret"
        assert await store.tasks.attempts(task.id) == []
        with pytest.raises(NotFound):
            await store.tasks.get(new_id("task"))

    async def test_tasks_are_accepted_in_the_order_given(self, store: Store) -> None:
        tasks = await store.tasks.accept([a_task() for _ in range(20)])
        lanes = await store.tasks.lanes()
        assert [task.id for task in await store.tasks.waiting(lanes, limit=50)] == [task.id for task in tasks]
        assert await store.tasks.accept([]) == []

    async def test_a_key_that_was_used_gives_the_first_task(self, store: Store) -> None:
        first = await accepted(store, key="k", payload={"n": 1})
        again, other = await store.tasks.accept([a_task(key="k", payload={"n": 2}), a_task(key="l")])
        assert again == first
        assert other.id != first.id
        elsewhere = await accepted(store, key="k", project_id="prj_other")
        assert elsewhere.id != first.id

    async def test_a_key_that_is_used_twice_at_once_gives_one_task(self, store: Store) -> None:
        one, two, three = await store.tasks.accept([a_task(key="k"), a_task(key="k"), a_task()])
        assert one == two
        assert {task.id for task in await store.tasks.list()} == {one.id, three.id}

    async def test_of_many_with_one_key_one_is_recorded(self, stores: Stores) -> None:
        processes = [stores.of_another_process() for _ in range(3)]
        found = await asyncio.gather(
            *(accepted(each, key="k") for each in processes for _ in range(5)),
            *(accepted(each, key=f"{turn}") for each in processes for turn in range(5)),
        )
        assert len({task.id for task in found[:15]}) == 1
        assert len(await stores.store.tasks.list()) == 6

    async def test_while_a_unique_task_has_not_ended_another_is_refused(self, store: Store) -> None:
        first = await accepted(store, unique_key="u")
        with pytest.raises(AlreadyExists) as refused:
            await store.tasks.accept([a_task(), a_task(unique_key="u")])
        assert refused.value.details["task_id"] == first.id
        assert [task.id for task in await store.tasks.list()] == [first.id]
        await accepted(store, unique_key="u", project_id="prj_other")
        await store.tasks.cancel([first.id])
        await accepted(store, unique_key="u")

    async def test_two_unique_ones_in_one_call_are_refused(self, store: Store) -> None:
        with pytest.raises(AlreadyExists):
            await store.tasks.accept([a_task(unique_key="u"), a_task(unique_key="u")])
        assert await store.tasks.list() == []

    async def test_of_many_unique_ones_one_is_accepted(self, stores: Stores) -> None:
        processes = [stores.of_another_process() for _ in range(3)]
        found = await asyncio.gather(
            *(accepted(each, unique_key="u") for each in processes for _ in range(5)), return_exceptions=True
        )
        (task,) = await stores.store.tasks.list()
        for each in found:
            if isinstance(each, Task):
                assert each.id == task.id
            else:
                assert isinstance(each, AlreadyExists), each
        assert sum(isinstance(each, Task) for each in found) == 1

    async def test_a_unique_task_may_block_its_window(self, stores: Stores) -> None:
        first = await accepted(stores.store, unique_key="u", unique_s=60)
        await stores.store.tasks.cancel([first.id])
        with pytest.raises(AlreadyExists):
            await accepted(stores.store, unique_key="u")
        stores.let_pass(61)
        await accepted(stores.store, unique_key="u")

    async def test_an_id_that_is_taken_is_refused(self, store: Store) -> None:
        new = a_task()
        await store.tasks.accept([new])
        with pytest.raises(AlreadyExists):
            await store.tasks.accept([replace(new, spec=TaskSpec("other"))])

    async def test_a_task_waits_for_others(self, store: Store) -> None:
        worker = await a_worker(store)
        first, second = await store.tasks.accept([a_task(), a_task()])
        last = await accepted(store, after=(first.id, second.id, first.id))
        assert (last.state, bool(last.reason)) == (TaskState.BLOCKED, True)
        for task, state in ((first, TaskState.BLOCKED), (second, TaskState.QUEUED)):
            await running(store, worker, task.id)
            await store.tasks.finish([Outcome(task.id, 1, TaskState.SUCCEEDED)])
            assert (await store.tasks.get(last.id)).state is state
        free = await accepted(store, after=(first.id, second.id))
        assert free.state is TaskState.QUEUED

    async def test_tasks_of_one_call_may_wait_for_earlier_ones(self, store: Store) -> None:
        first, second = a_task(), a_task()
        second = replace(second, spec=replace(second.spec, after=(first.id,)))
        tasks = await store.tasks.accept([first, second])
        assert [task.state for task in tasks] == [TaskState.QUEUED, TaskState.BLOCKED]

    async def test_tasks_never_wait_for_themselves_or_later_ones(self, store: Store) -> None:
        first, second = a_task(), a_task()
        for after in (first.id, second.id, new_id("task")):
            waiting = replace(first, spec=replace(first.spec, after=(after,)))
            with pytest.raises(NotFound):
                await store.tasks.accept([waiting, second])
        assert await store.tasks.list() == []

    @pytest.mark.parametrize("end", [TaskState.CANCELLED, TaskState.DEAD])
    async def test_who_waits_for_what_failed_already_is_dead(self, store: Store, end: TaskState) -> None:
        first = await accepted(store)
        if end is TaskState.CANCELLED:
            await store.tasks.cancel([first.id])
        else:
            await store.tasks.give_up([first.id], error_code="x", error="y")
        new = a_task(after=(first.id,), unique_key="u")
        last = a_task(after=(new.id,))
        tasks = await store.tasks.accept([new, last])
        assert [(task.state, task.error_code) for task in tasks] == [
            (TaskState.DEAD, "dependency_failed")
        ] * 2
        await accepted(store, unique_key="u")
        facts = await store.events.relay(await a_leader(store))
        assert {fact.subject for fact in facts if fact.type == "task.dead"} >= {new.id, last.id}

    async def test_the_list_is_read_in_pages_and_filtered(self, store: Store) -> None:
        tasks = [
            await accepted(store, priority=priority, group=group, type=kind)
            for priority, group, kind in (
                (Priority.HIGH, "g", "a"),
                (Priority.LOW, "g", "b"),
                (Priority.LOW, "", "b"),
            )
        ]
        other = await accepted(store, project_id="prj_other")
        await store.tasks.cancel([tasks[0].id])
        ids = sorted((task.id for task in (*tasks, other)), reverse=True)
        assert [task.id for task in await store.tasks.list()] == ids
        assert [task.id for task in await store.tasks.list(limit=2)] == ids[:2]
        assert [task.id for task in await store.tasks.list(limit=2, before=ids[1])] == ids[2:]
        for where, expected in (
            ({"states": [TaskState.CANCELLED]}, tasks[:1]),
            ({"types": ["a", "b"]}, tasks),
            ({"project_id": "prj_other"}, [other]),
            ({"group": "g"}, tasks[:2]),
            ({"priority": Priority.HIGH}, tasks[:1]),
            ({"priority": Priority.LOW, "group": "g"}, tasks[1:2]),
            ({"ids": [tasks[2].id, new_id("task")]}, tasks[2:]),
            ({"worker_id": "wkr_1"}, []),
        ):
            found = {task.id for task in await store.tasks.list(**where)}
            assert found == {task.id for task in expected}, where
        assert await store.tasks.count() == {TaskState.QUEUED: 3, TaskState.CANCELLED: 1}
        assert await store.tasks.count(group="g") == {TaskState.QUEUED: 1, TaskState.CANCELLED: 1}

    async def test_those_with_no_ids_are_none(self, store: Store) -> None:
        await accepted(store)
        assert await store.tasks.list(ids=[]) == []
        assert await store.tasks.count(ids=[]) == {}

    async def test_recent_ones_are_counted(self, stores: Stores) -> None:
        await accepted(stores.store)
        await accepted(stores.store, project_id="prj_other")
        stores.let_pass(40)
        await accepted(stores.store)
        assert await stores.store.tasks.recent("default", 60) == 2
        assert await stores.store.tasks.recent("default", 30) == 1
