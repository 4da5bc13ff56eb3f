"""What a store has to do for tasks: attempts, their ends, and what follows from those."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from aetherium.domain.ids import new_id
from aetherium.domain.tasks import Retry, TaskState
from aetherium.domain.workers import WorkerInfo
from aetherium.interfaces.store import Store
from aetherium.interfaces.task_store import Outcome
from tests.contract.store.databases import Stores
from tests.contract.store.values import LONG_S, a_leader, a_task, a_worker, accepted, placed, running

_CHAIN = 400


class AttemptsContract:
    """What workers do."""

    async def test_a_claim_begins_an_attempt(self, store: Store) -> None:
        worker, task = await a_worker(store), await accepted(store)
        await placed(store, worker, task.id)
        (begun,) = await store.tasks.claim([(task.id, 1)], worker.id, worker.incarnation)
        assert (begun.state, begun.attempt, begun.worker_id) == (TaskState.RUNNING, 1, worker.id)
        assert begun.lease is not None
        assert begun.lease.fencing_token == 1
        assert await store.tasks.get(task.id) == begun
        (attempt,) = await store.tasks.attempts(task.id)
        assert (attempt.number, attempt.worker_id, attempt.ended_at) == (1, worker.id, None)
        assert attempt.started_at == begun.started_at
        assert await store.tasks.held(worker.id) == [(task.id, 1, TaskState.RUNNING)]

    async def test_only_what_is_placed_there_can_be_claimed(self, store: Store) -> None:
        worker, other = await a_worker(store), await a_worker(store)
        task, free = await store.tasks.accept([a_task(), a_task()])
        await placed(store, worker, task.id)

        async def claim(task_id: str, number: int, by: str, incarnation: int) -> int:
            return len(await store.tasks.claim([(task_id, number)], by, incarnation))

        assert await claim(task.id, 1, other.id, 1) == 0
        assert await claim(task.id, 2, worker.id, 1) == 0
        assert await claim(task.id, 0, worker.id, 1) == 0
        assert await claim(task.id, 1, worker.id, 2) == 0
        assert await claim(task.id, 1, new_id("wkr"), 1) == 0
        assert await claim(free.id, 1, worker.id, 1) == 0
        assert len(await store.tasks.claim([], worker.id, 1)) == 0
        assert await claim(task.id, 1, worker.id, 1) == 1
        assert await claim(task.id, 1, worker.id, 1) == 0

    async def test_a_worker_whose_lease_is_out_claims_nothing(self, stores: Stores) -> None:
        store = stores.store
        worker = await store.workers.register(WorkerInfo(new_id("wkr"), "w"), lease_s=10)
        task = await accepted(store)
        await placed(store, worker, task.id)
        stores.let_pass(11)
        assert len(await store.tasks.claim([(task.id, 1)], worker.id, worker.incarnation)) == 0
        await store.workers.heartbeat(worker.info, worker.incarnation, lease_s=LONG_S)
        assert len(await store.tasks.claim([(task.id, 1)], worker.id, worker.incarnation)) == 1

    async def test_a_second_delivery_of_a_ticket_finds_the_claim(self, stores: Stores) -> None:
        store, worker = stores.store, await a_worker(stores.store)
        tasks = await store.tasks.accept([a_task() for _ in range(30)])
        await placed(store, worker, *(task.id for task in tasks))
        processes = [stores.of_another_process() for _ in range(3)]
        tickets = [(task.id, 1) for task in tasks]
        claims = await asyncio.gather(
            *(
                each.tasks.claim(tickets[part::2], worker.id, worker.incarnation)
                for each in processes
                for part in (0, 1, 0)
            )
        )
        begun = [task.id for each in claims for task in each]
        assert sorted(begun) == sorted(task.id for task in tasks)
        for task in tasks:
            assert len(await store.tasks.attempts(task.id)) == 1

    async def test_success_is_recorded(self, store: Store) -> None:
        worker, task = await a_worker(store), await accepted(store)
        await running(store, worker, task.id)
        (done,) = await store.tasks.finish(
            [Outcome(task.id, 1, TaskState.SUCCEEDED, {"answer": 42}, ok=False)]
        )
        assert (done.state, done.result, done.ok) == (TaskState.SUCCEEDED, {"answer": 42}, False)
        assert done.ended_at is not None
        assert done.worker_id == worker.id
        assert await store.tasks.get(task.id) == done
        (attempt,) = await store.tasks.attempts(task.id)
        assert (attempt.error_code, attempt.ended_at) == ("", done.ended_at)
        assert await store.tasks.sealed(task.id) == b""
        assert await store.tasks.held(worker.id) == []

    async def test_an_older_attempt_is_refused(self, store: Store) -> None:
        worker, task = await a_worker(store), await accepted(store)
        await running(store, worker, task.id)
        await store.tasks.finish([Outcome(task.id, 1, TaskState.QUEUED)])
        assert list(await store.tasks.finish([Outcome(task.id, 1, TaskState.SUCCEEDED)])) == []
        again = await running(store, worker, task.id)
        for number in (0, 1, 3):
            assert list(await store.tasks.finish([Outcome(task.id, number, TaskState.SUCCEEDED)])) == []
        assert await store.tasks.get(task.id) == again
        assert len(await store.tasks.finish([Outcome(task.id, 2, TaskState.SUCCEEDED)])) == 1
        assert list(await store.tasks.finish([Outcome(task.id, 2, TaskState.DEAD)])) == []

    async def test_what_is_handed_back_has_not_failed(self, store: Store) -> None:
        worker, task = await a_worker(store), await accepted(store, retry=Retry(1))
        await running(store, worker, task.id)
        (back,) = await store.tasks.finish([Outcome(task.id, 1, TaskState.QUEUED)])
        assert (back.state, back.failures, back.attempt, back.worker_id) == (TaskState.QUEUED, 0, 1, None)
        assert [each.error_code for each in await store.tasks.attempts(task.id)] == ["handed_back"]
        assert await store.tasks.sealed(task.id) == b"sealed"
        assert len(await store.tasks.lanes()) == 1

    async def test_a_failure_is_repeated_after_a_pause(self, stores: Stores) -> None:
        store, worker = stores.store, await a_worker(stores.store)
        task = await accepted(store, retry=Retry(2))
        await running(store, worker, task.id)
        (failed,) = await store.tasks.finish(
            [Outcome(task.id, 1, TaskState.SCHEDULED, error_code="unavailable", error="Later.", delay_s=30)]
        )
        assert (failed.state, failed.failures, failed.worker_id) == (TaskState.SCHEDULED, 1, None)
        assert failed.run_at is not None
        assert (failed.run_at - await store.now()).total_seconds() == pytest.approx(30, abs=5)
        assert await store.tasks.release_due() == 0
        stores.let_pass(31)
        assert await store.tasks.release_due() == 1
        await running(store, worker, task.id)
        (dead,) = await store.tasks.finish(
            [Outcome(task.id, 2, TaskState.SCHEDULED, error_code="unavailable", error="No.", delay_s=30)]
        )
        assert (dead.state, dead.failures, dead.error_code, dead.error) == (
            TaskState.DEAD,
            2,
            "unavailable",
            "No.",
        )
        assert [(each.number, each.error) for each in await store.tasks.attempts(task.id)] == [
            (1, "Later."),
            (2, "No."),
        ]

    async def test_a_failure_may_be_repeated_at_once(self, store: Store) -> None:
        worker, task = await a_worker(store), await accepted(store)
        await running(store, worker, task.id)
        (failed,) = await store.tasks.finish([Outcome(task.id, 1, TaskState.SCHEDULED, error_code="x")])
        assert (failed.state, failed.failures) == (TaskState.QUEUED, 1)
        assert (await running(store, worker, task.id)).attempt == 2

    async def test_a_permanent_failure_is_not_repeated(self, store: Store) -> None:
        worker, task = await a_worker(store), await accepted(store, unique_key="u")
        await running(store, worker, task.id)
        (dead,) = await store.tasks.finish([Outcome(task.id, 1, TaskState.DEAD, error_code="bad")])
        assert (dead.state, dead.ok, dead.error_code) == (TaskState.DEAD, False, "bad")
        assert await store.tasks.list(error_code="bad") == [dead]
        await accepted(store, unique_key="u")

    @pytest.mark.parametrize("strange", ["\0", "\udc80"])
    async def test_a_failure_is_recorded_whatever_its_text(self, store: Store, strange: str) -> None:
        worker, task = await a_worker(store), await accepted(store)
        await running(store, worker, task.id)
        error = f"before {strange} after"
        (dead,) = await store.tasks.finish(
            [Outcome(task.id, 1, TaskState.DEAD, {"said": error}, error=error)]
        )
        assert dead.state is TaskState.DEAD
        (attempt,) = await store.tasks.attempts(task.id)
        for said in ((await store.tasks.get(task.id)).error, attempt.error):
            assert said.startswith("before ")
            assert said.endswith(" after")

    async def test_many_end_at_once(self, store: Store) -> None:
        worker = await a_worker(store)
        tasks = await store.tasks.accept([a_task() for _ in range(6)])
        await placed(store, worker, *(task.id for task in tasks))
        await store.tasks.claim([(task.id, 1) for task in tasks], worker.id, worker.incarnation)
        ends = (
            TaskState.SUCCEEDED, TaskState.DEAD, TaskState.QUEUED, TaskState.SCHEDULED, TaskState.CANCELLED,
        )  # fmt: skip
        outcomes = [Outcome(task.id, 1, end, delay_s=9) for task, end in zip(tasks, ends, strict=False)]
        done = await store.tasks.finish([*outcomes, Outcome(tasks[5].id, 7, TaskState.DEAD)])
        assert {task.id: task.state for task in done} == {
            task.id: end for task, end in zip(tasks, ends, strict=False)
        }
        for task in done:
            assert await store.tasks.get(task.id) == task
        assert await store.tasks.held(worker.id) == [(tasks[5].id, 1, TaskState.RUNNING)]

    @pytest.mark.parametrize(
        "outcome",
        [
            Outcome("", 1, TaskState.SUCCEEDED, ok=False),
            Outcome("", 1, TaskState.DEAD),
            Outcome("", 1, TaskState.CANCELLED),
        ],
    )
    async def test_what_waits_for_a_failure_is_dead(self, store: Store, outcome: Outcome) -> None:
        worker, first = await a_worker(store), await accepted(store)
        second = await accepted(store, after=(first.id,))
        third = await accepted(store, after=(second.id,))
        await running(store, worker, first.id)
        await store.tasks.finish([Outcome(first.id, 1, outcome.state, ok=outcome.ok)])
        for task in (second, third):
            ended = await store.tasks.get(task.id)
            assert (ended.state, ended.error_code) == (TaskState.DEAD, "dependency_failed")

    async def test_a_long_chain_falls_as_one(self, store: Store) -> None:
        first = await accepted(store)
        chain = [first.id]
        for _ in range(_CHAIN):
            chain.append((await accepted(store, after=(chain[-1],))).id)
        await store.tasks.cancel([first.id])
        assert await store.tasks.count() == {TaskState.CANCELLED: 1, TaskState.DEAD: _CHAIN}

    async def test_one_that_was_requeued_waits_no_more(self, store: Store) -> None:
        first = await accepted(store)
        second = await accepted(store, after=(first.id,))
        await store.tasks.give_up([first.id], error_code="x", error="y")
        await store.tasks.requeue([first.id, second.id])
        await store.tasks.cancel([first.id])
        assert (await store.tasks.get(second.id)).state is TaskState.QUEUED

    async def test_two_that_end_at_once_free_what_waits_for_both(self, stores: Stores) -> None:
        store, worker = stores.store, await a_worker(stores.store)
        pairs = [await store.tasks.accept([a_task(), a_task()]) for _ in range(10)]
        waiting = [await accepted(store, after=tuple(task.id for task in pair)) for pair in pairs]
        for pair in pairs:
            for task in pair:
                await running(store, worker, task.id)
        processes = [stores.of_another_process() for _ in range(2)]
        await asyncio.gather(
            *(
                each.tasks.finish([Outcome(pair[number].id, 1, TaskState.SUCCEEDED)])
                for pair in pairs
                for number, each in enumerate(processes)
            )
        )
        for task in waiting:
            assert (await store.tasks.get(task.id)).state is TaskState.QUEUED

    async def test_what_waits_for_its_time_too_is_scheduled(self, store: Store) -> None:
        worker, first = await a_worker(store), await accepted(store)
        run_at = await store.now() + timedelta(hours=1)
        second = await accepted(store, after=(first.id,), run_at=run_at)
        await running(store, worker, first.id)
        await store.tasks.finish([Outcome(first.id, 1, TaskState.SUCCEEDED)])
        freed = await store.tasks.get(second.id)
        assert (freed.state, freed.run_at, freed.reason) == (TaskState.SCHEDULED, run_at, "")

    async def test_the_ends_of_tasks_are_events(self, store: Store) -> None:
        worker, epoch = await a_worker(store), await a_leader(store)
        good, bad, back = await store.tasks.accept([a_task(), a_task(), a_task()])
        for task in (good, bad, back):
            await running(store, worker, task.id)
        await store.tasks.finish(
            [
                Outcome(good.id, 1, TaskState.SUCCEEDED),
                Outcome(bad.id, 1, TaskState.DEAD, error_code="x"),
                Outcome(back.id, 1, TaskState.QUEUED),
            ]
        )
        facts = {fact.subject: fact for fact in await store.events.relay(epoch) if fact.subject != worker.id}
        assert {ref: fact.type for ref, fact in facts.items()} == {
            good.id: "task.succeeded",
            bad.id: "task.dead",
        }
        assert facts[bad.id].data["error_code"] == "x"
