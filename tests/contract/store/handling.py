"""What a store has to do for tasks: what people do with them, and how they go."""

from __future__ import annotations

import asyncio

from aetherium.domain.ids import new_id
from aetherium.domain.tasks import Retry, TaskState
from aetherium.interfaces.store import Store
from aetherium.interfaces.task_store import Outcome
from tests.contract.store.databases import Stores
from tests.contract.store.values import a_leader, a_task, a_worker, accepted, placed, running


async def dead(store: Store, **spec: object) -> str:
    """A dead task that had one attempt."""
    worker, task = await a_worker(store), await accepted(store, **spec)
    await running(store, worker, task.id)
    await store.tasks.finish([Outcome(task.id, 1, TaskState.DEAD, {"x": 1}, error_code="bad", error="Bad.")])
    return task.id


class HandlingContract:
    """Cancelling, dead letters, purging."""

    async def test_what_waits_is_cancelled_and_what_runs_is_told(self, store: Store) -> None:
        worker = await a_worker(store)
        queued, put, begun, done = await store.tasks.accept([a_task() for _ in range(4)])
        blocked = await accepted(store, after=(begun.id,))
        await placed(store, worker, put.id)
        await running(store, worker, begun.id)
        await running(store, worker, done.id)
        await store.tasks.finish([Outcome(done.id, 1, TaskState.SUCCEEDED)])
        everything = [queued.id, put.id, begun.id, done.id, blocked.id, new_id("task")]
        changed = await store.tasks.cancel(everything, reason="No more.")
        assert {task.id: task.state for task in changed} == {
            queued.id: TaskState.CANCELLED,
            put.id: TaskState.CANCELLED,
            blocked.id: TaskState.CANCELLED,
            begun.id: TaskState.CANCELLING,
        }
        assert {task.error for task in changed} == {"No more."}
        for task in changed:
            assert await store.tasks.get(task.id) == task
        assert list(await store.tasks.cancel(everything)) == []
        assert len(await store.tasks.claim([(put.id, 1)], worker.id, worker.incarnation)) == 0
        assert await store.tasks.held(worker.id) == [(begun.id, 1, TaskState.CANCELLING)]
        assert await store.tasks.lanes() == []

    async def test_cancelling_ends_in_one_way_or_the_other(self, store: Store) -> None:
        worker, tasks = await a_worker(store), await store.tasks.accept([a_task() for _ in range(3)])
        for task in tasks:
            await running(store, worker, task.id)
        await store.tasks.cancel([task.id for task in tasks], reason="No more.")
        ends = (TaskState.SUCCEEDED, TaskState.CANCELLED, TaskState.SCHEDULED)
        done = await store.tasks.finish(
            [Outcome(task.id, 1, end, delay_s=9) for task, end in zip(tasks, ends, strict=True)]
        )
        states = {task.id: task.state for task in done}
        assert [states[task.id] for task in tasks] == [
            TaskState.SUCCEEDED,
            TaskState.CANCELLED,
            TaskState.CANCELLED,
        ]
        assert (await store.tasks.get(tasks[2].id)).error == "No more."

    async def test_a_cancelled_task_ends_what_waits_for_it(self, store: Store) -> None:
        first = await accepted(store)
        second = await accepted(store, after=(first.id,))
        await store.tasks.cancel([first.id])
        assert (await store.tasks.get(second.id)).state is TaskState.DEAD

    async def test_of_a_claim_and_a_cancellation_both_are_seen(self, stores: Stores) -> None:
        store, worker = stores.store, await a_worker(stores.store)
        tasks = await store.tasks.accept([a_task() for _ in range(20)])
        await placed(store, worker, *(task.id for task in tasks))
        one, other = stores.of_another_process(), stores.of_another_process()
        await asyncio.gather(
            *(one.tasks.claim([(task.id, 1)], worker.id, worker.incarnation) for task in tasks),
            *(other.tasks.cancel([task.id]) for task in tasks),
        )
        for task in tasks:
            found, attempts = await store.tasks.get(task.id), await store.tasks.attempts(task.id)
            expected = TaskState.CANCELLING if attempts else TaskState.CANCELLED
            assert (found.state, len(attempts)) == (expected, found.attempt)

    async def test_a_dead_task_gets_fresh_attempts(self, store: Store) -> None:
        task_id = await dead(store, retry=Retry(1))
        (again,) = await store.tasks.requeue([task_id, new_id("task")])
        assert (again.state, again.failures, again.attempt) == (TaskState.QUEUED, 0, 1)
        assert (again.error_code, again.error, again.result, again.ok) == ("", "", None, None)
        assert (again.ended_at, again.worker_id) == (None, None)
        assert await store.tasks.get(task_id) == again
        assert await store.tasks.sealed(task_id) == b"sealed"
        assert list(await store.tasks.requeue([task_id])) == []
        begun = await running(store, await a_worker(store), task_id)
        assert begun.attempt == 2
        assert len(await store.tasks.attempts(task_id)) == 2

    async def test_only_dead_ones_are_requeued_and_discarded(self, store: Store) -> None:
        worker, (waiting, begun) = await a_worker(store), await store.tasks.accept([a_task(), a_task()])
        await running(store, worker, begun.id)
        cancelled = await accepted(store)
        await store.tasks.cancel([cancelled.id])
        ids = [waiting.id, begun.id, cancelled.id]
        assert list(await store.tasks.requeue(ids)) == []
        assert list(await store.tasks.discard(ids)) == []

    async def test_a_discarded_task_stays_discarded(self, store: Store) -> None:
        task_id = await dead(store)
        (gone,) = await store.tasks.discard([task_id])
        assert (gone.state, gone.error_code) == (TaskState.DISCARDED, "bad")
        assert await store.tasks.get(task_id) == gone
        assert await store.tasks.sealed(task_id) == b""
        assert list(await store.tasks.discard([task_id])) == []
        assert list(await store.tasks.requeue([task_id])) == []
        kinds = [fact.type for fact in await store.events.relay(await a_leader(store))]
        assert "task.discarded" in kinds

    async def test_dead_ones_are_requeued_once_whoever_asks(self, stores: Stores) -> None:
        ids = [await dead(stores.store) for _ in range(5)]
        processes = [stores.of_another_process() for _ in range(3)]
        done = await asyncio.gather(*(each.tasks.requeue(ids) for each in processes))
        assert sorted(task.id for each in done for task in each) == sorted(ids)

    async def test_what_has_ended_is_purged_after_its_time(self, stores: Stores) -> None:
        store = stores.store
        old, short, long = await store.tasks.accept([a_task(), a_task(keep_s=10), a_task(keep_s=1000)])
        waiting = await accepted(store)
        await store.tasks.cancel([old.id, short.id, long.id])
        letter = await dead(store)
        assert list(await store.tasks.purge(100)) == []
        stores.let_pass(11)
        assert list(await store.tasks.purge(100)) == [short.id]
        stores.let_pass(100)
        assert len(await store.tasks.purge(100, limit=1)) == 1
        assert len(await store.tasks.purge(100, limit=5)) == 1
        assert {task.id for task in await store.tasks.list()} == {long.id, waiting.id}
        assert await store.tasks.attempts(letter) == []
        stores.let_pass(1000)
        assert list(await store.tasks.purge(100)) == [long.id]
