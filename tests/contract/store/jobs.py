"""What a store has to do for jobs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aetherium.domain.errors import Conflict, InvalidTransition, NotFound
from aetherium.domain.executions import ExecutionResult, ExecutionState
from aetherium.domain.ids import new_id
from aetherium.domain.jobs import (
    ArchiveSource,
    Artifact,
    ArtifactRule,
    BundleSource,
    DirectorySource,
    GitSource,
    Job,
    JobSource,
    JobSpec,
    JobState,
    JobStep,
    PatchSummary,
    PhaseTiming,
    StepOutcome,
    StepResult,
    TestSummary,
)
from aetherium.domain.tasks import TaskState
from aetherium.interfaces.store import Store
from aetherium.interfaces.task_store import Outcome
from tests.contract.store.databases import Stores
from tests.contract.store.values import BEGIN, a_job, a_worker, accepted, running


class JobsContract:
    """Jobs."""

    @pytest.mark.parametrize(
        "source",
        [
            None,
            GitSource("https://example.org/x.git", "main", None),
            DirectorySource("/srv/x"),
            BundleSource("/srv/x.bundle", "main", "/srv/x.patch"),
            ArchiveSource("/srv/x.tar", 1),
        ],
    )
    async def test_a_job_comes_back_as_it_was(self, store: Store, source: JobSource | None) -> None:
        steps = (JobStep("a", run="make"), JobStep("b", argv=("x", "y"), env={"A": "b"}, secrets=("S",)))
        spec = JobSpec(steps, source=source, artifacts=(ArtifactRule("**/*.xml", "reports"),), secrets=("S",))
        result = StepResult("a", StepOutcome.FAILED, "ex_1", ExecutionResult(ExecutionState.EXITED, 3), BEGIN)
        job = Job(
            new_id("job"), spec, JobState.RUNNING, BEGIN, steps=(result,), tests=TestSummary(3, 1),
            patch=PatchSummary("abc", "changes.patch", 1, 2, 3, 4), timings=(PhaseTiming("vm", 0.5),),
            owner="me",
        )  # fmt: skip
        await store.jobs.add(job)
        assert await store.jobs.get(job.id) == job
        assert await store.jobs.find(job.id[:17]) == job

    async def test_a_job_that_has_ended_is_not_changed(self, store: Store) -> None:
        job = Job(new_id("job"), JobSpec((JobStep("a", run="x"),)), JobState.PENDING, BEGIN)
        await store.jobs.add(job)
        running = await store.jobs.save(replace(job, state=JobState.RUNNING))
        await store.jobs.save(replace(running, commit="abc"))
        done = await store.jobs.save(replace(running, state=JobState.SUCCEEDED))
        for state in (JobState.SUCCEEDED, JobState.RUNNING, JobState.CANCELLED):
            with pytest.raises(InvalidTransition):
                await store.jobs.save(replace(done, state=state))
        assert await store.jobs.list(states=[JobState.SUCCEEDED]) == [done]
        assert await store.jobs.list(states=[JobState.RUNNING]) == []
        assert await store.jobs.remove(job.id)
        with pytest.raises(NotFound):
            await store.jobs.save(done)

    async def test_steps_and_artifacts_are_replaced(self, store: Store) -> None:
        job = replace(a_job(), state=JobState.RUNNING)
        await store.jobs.add(job)
        for count in (1, 3, 2, 0):
            steps = tuple(StepResult(f"s{n}", StepOutcome.PASSED) for n in range(count))
            files = tuple(Artifact(f"a{n}", f"artifacts/{9 - n}", n, "0" * 64) for n in range(count))
            job = await store.jobs.save(replace(job, steps=steps, artifacts=files))
            assert await store.jobs.get(job.id) == job

    async def test_a_list_is_read_in_pages(self, store: Store) -> None:
        jobs = sorted((replace(a_job(), steps=(_passed(n),)) for n in range(5)), key=lambda job: job.id)
        for job in jobs:
            await store.jobs.add(job)
        newest_first = jobs[::-1]
        assert await store.jobs.list() == newest_first
        page = await store.jobs.list(limit=2)
        assert page == newest_first[:2]
        assert await store.jobs.list(limit=2, before=page[-1].id) == newest_first[2:4]
        assert await store.jobs.list(states=[JobState.PENDING], before=jobs[1].id) == [jobs[0]]
        assert await store.jobs.list(states=[JobState.RUNNING]) == []

    async def test_a_worker_lists_its_own_and_gets_every_one(self, stores: Stores) -> None:
        one, other = stores.seen_by("wkr_1"), stores.seen_by("wkr_2")
        own, given = a_job(), a_job()
        await one.jobs.add(own)
        await stores.store.jobs.add(given)
        assert [job.id for job in await one.jobs.list()] == [own.id]
        assert await other.jobs.list() == []
        assert await one.jobs.get(given.id) == given
        taken = await one.jobs.save(replace(given, state=JobState.RUNNING, worker_id="wkr_1"))
        assert {job.id for job in await one.jobs.list()} == {own.id, taken.id}

    async def test_only_the_present_attempt_may_save(self, store: Store) -> None:
        worker = await a_worker(store)
        job = await _of_a_task(store)
        with pytest.raises(Conflict, match="attempt"):
            await store.jobs.save(replace(job, state=JobState.RUNNING, attempt=1), fenced=True)
        first = await running(store, worker, job.task_id or "")
        job = await store.jobs.save(
            replace(job, state=JobState.RUNNING, attempt=first.attempt, commit="one"), fenced=True
        )
        await store.tasks.finish([Outcome(first.id, first.attempt, TaskState.QUEUED)])
        second = await running(store, worker, first.id)
        for state in (JobState.RUNNING, JobState.SUCCEEDED):
            with pytest.raises(Conflict, match="attempt 1"):
                await store.jobs.save(replace(job, state=state, commit="late"), fenced=True)
        assert (await store.jobs.get(job.id)).commit == ""
        again = replace(job, attempt=second.attempt, commit="two")
        assert await store.jobs.save(again, fenced=True) == await store.jobs.get(job.id)

    async def test_while_its_task_is_being_cancelled_it_may_save(self, store: Store) -> None:
        job = await _of_a_task(store)
        task = await running(store, await a_worker(store), job.task_id or "")
        await store.tasks.cancel([task.id])
        ended = replace(job, state=JobState.CANCELLED, attempt=1)
        assert await store.jobs.save(ended, fenced=True) == ended

    async def test_it_begins_anew_when_its_task_does(self, store: Store) -> None:
        worker = await a_worker(store)
        job = await _of_a_task(store)
        await running(store, worker, job.task_id or "")
        begun = replace(
            job, state=JobState.RUNNING, attempt=1, worker_id=worker.id, vm_id="vm_1", owner="me",
            steps=(_passed(0),),
        )  # fmt: skip
        await store.jobs.save(begun, fenced=True)
        await store.tasks.finish([Outcome(job.task_id or "", 1, TaskState.SCHEDULED, delay_s=60)])
        assert await store.jobs.get(job.id) == replace(job, attempt=1)
        assert await store.jobs.list(states=[JobState.PENDING]) == [replace(job, attempt=1)]

    async def test_it_fails_with_its_task(self, store: Store) -> None:
        job = await _of_a_task(store)
        await running(store, await a_worker(store), job.task_id or "")
        await store.jobs.save(replace(job, state=JobState.RUNNING, attempt=1, owner="me"), fenced=True)
        await store.tasks.finish(
            [Outcome(job.task_id or "", 1, TaskState.DEAD, error_code="boot_failed", error="No answer.")]
        )
        failed = await store.jobs.get(job.id)
        assert (failed.state, failed.error_code, failed.error) == (
            JobState.FAILED,
            "boot_failed",
            "No answer.",
        )
        assert failed.ended_at is not None
        assert failed.owner is None
        await store.tasks.requeue([job.task_id or ""])
        assert (await store.jobs.get(job.id)).state is JobState.PENDING

    async def test_it_is_cancelled_with_its_task(self, store: Store) -> None:
        job = await _of_a_task(store)
        await store.tasks.cancel([job.task_id or ""], reason="No more.")
        cancelled = await store.jobs.get(job.id)
        assert (cancelled.state, cancelled.error) == (JobState.CANCELLED, "No more.")

    async def test_one_that_has_ended_stays_as_it_is(self, store: Store) -> None:
        job = await _of_a_task(store)
        await running(store, await a_worker(store), job.task_id or "")
        begun = await store.jobs.save(replace(job, state=JobState.RUNNING, attempt=1), fenced=True)
        ended = await store.jobs.save(replace(begun, state=JobState.SUCCEEDED), fenced=True)
        await store.tasks.cancel([job.task_id or ""])
        await store.tasks.finish([Outcome(job.task_id or "", 1, TaskState.CANCELLED)])
        assert await store.jobs.get(job.id) == ended

    async def test_those_of_tasks_are_removed_when_they_have_ended(self, store: Store) -> None:
        ended, waiting, other = [await _of_a_task(store) for _ in range(3)]
        await store.tasks.cancel([ended.task_id or "", other.task_id or ""])
        tasks = [ended.task_id or "", waiting.task_id or ""]
        assert await store.jobs.remove_of(tasks) == [ended.id]
        assert await store.jobs.remove_of([]) == []
        assert {job.id for job in await store.jobs.list()} == {waiting.id, other.id}


def _passed(number: int) -> StepResult:
    return StepResult(f"step {number}", StepOutcome.PASSED)


async def _of_a_task(store: Store) -> Job:
    """A job that a task is to carry out."""
    task = await accepted(store, type="job.run")
    job = replace(a_job(), task_id=task.id)
    await store.jobs.add(job)
    return job
