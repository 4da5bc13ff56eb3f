"""Jobs from their submission to their end, over the fake driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from aetherium.domain.errors import Conflict, InvalidInput, NotFound
from aetherium.domain.ids import JOB, new_id
from aetherium.domain.jobs import (
    ArtifactRule,
    DirectorySource,
    GitSource,
    Job,
    JobState,
    JobStep,
    StepCondition,
    StepOutcome,
)
from aetherium.domain.tasks import Retry, TaskSpec
from aetherium.domain.workers import WorkerInfo
from aetherium.interfaces.task_store import NewTask
from aetherium.services.job_journal import FileJournal
from tests.fixtures.platform import data_dir
from tests.integration.jobs.carrying import Jobs, fake_jobs, output, warnings
from tests.unit.jobs.trees import content, git, repository

__all__ = ["data_dir"]


REPORT = '<testsuite><testcase name="a"><failure message="VALUE"/></testcase></testsuite>'


@pytest.fixture
async def jobs(data_dir: Path, tmp_path: Path) -> AsyncIterator[Jobs]:
    async with fake_jobs(data_dir, tmp_path) as made:
        yield made


def outcomes(job: Job) -> list[str]:
    return [str(step.outcome) for step in job.steps]


async def nothing_left(jobs: Jobs) -> None:
    assert await jobs.platform.vms.list() == []


async def test_the_main_job(jobs: Jobs, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    commit = await repository(origin, {"a.txt": b"one\n", "gone": b"x"})
    spec = jobs.spec(
        "cat a.txt; echo problem >&2; git status --porcelain; git rev-parse HEAD",
        "echo two >> a.txt; rm gone; printf '\\000\\377' > new.bin; mkdir out; echo result > out/r.txt",
        source=GitSource(str(origin)),
        artifacts=(ArtifactRule("out/r.txt", "result", required=True),),
    )
    job, events = await jobs.succeed(spec)
    assert output(events, "s1") == f"one\nproblem\n{commit}\n"
    assert job.commit == commit
    assert job.exit_code == 0
    assert job.patch is not None
    assert (job.patch.files, job.patch.insertions, job.patch.deletions) == (4, 2, 1)
    directory = jobs.service.directory(job.id)
    await git(origin, "apply", "--check", str(directory / "changes.patch"))
    await git(origin, "apply", str(directory / "changes.patch"))
    assert content(origin) == content(Path(spec.workdir))
    (artifact,) = job.artifacts
    assert (artifact.name, artifact.path, artifact.size_bytes) == ("result", "artifacts/result", 7)
    assert (directory / artifact.path).read_text() == "result\n"
    assert [timing.name for timing in job.timings if not timing.name.startswith("step")][-3:] == [
        "upload",
        "artifacts",
        "patch",
    ]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].kind == "finished"
    assert (directory / "logs" / "01-s1.log").read_text() == output(events, "s1")
    assert list((jobs.platform.settings.data_dir / "forks").iterdir()) == []
    await nothing_left(jobs)


async def test_conditions_and_continue_on_error(jobs: Jobs) -> None:
    job, _ = await jobs.run(
        jobs.spec(
            JobStep("soft", run="exit 3", continue_on_error=True),
            JobStep("plain", run="true"),
            JobStep("early", run="true", condition=StepCondition.FAILURE),
            JobStep("hard", run="exit 4"),
            JobStep("after", run="true"),
            JobStep("failed", run="true", condition=StepCondition.FAILURE),
            JobStep("always", run="exit 5", condition=StepCondition.ALWAYS),
        )
    )
    assert outcomes(job) == ["failed", "passed", "skipped", "failed", "skipped", "passed", "failed"]
    assert job.steps[0].ignored
    assert (job.state, job.exit_code, job.error) == (JobState.FAILED, 4, "")


async def test_what_a_step_sees(jobs: Jobs) -> None:
    step = JobStep("see", run='echo "$CI $A $B $AETHERIUM_STEP"; pwd', env={"B": "step"}, cwd="sub")
    job, events = await jobs.succeed(jobs.spec("mkdir sub", step, env={"A": "job", "B": "job"}))
    assert output(events, "see") == f"true job step see\n{job.spec.workdir}/sub\n"


async def test_secrets_are_given_and_masked(jobs: Jobs) -> None:
    value = "s3cr3t-value-of-mine"
    spec = jobs.spec(
        JobStep("all", run='echo "$TOKEN"; echo "$TOKEN" > kept; echo "${#TOKEN}"'),
        JobStep("none", run='echo "[$TOKEN]"; cat kept', secrets=()),
        JobStep("report", run=f"echo '{REPORT}' | sed \"s/VALUE/$TOKEN/\" > r.xml"),
        secrets=("TOKEN",),
        reports=("r.xml",),
        patch=False,
    )
    job, events = await jobs.succeed(spec, TOKEN=value)
    assert output(events, "all") == f"{'*' * 20}\n20\n"
    assert output(events, "none") == f"[]\n{'*' * 20}\n"
    assert job.tests is not None
    assert job.tests.failures[0].message == "*" * 20
    assert value not in repr(job)
    for path in jobs.service.directory(job.id).rglob("*"):
        assert not path.is_file() or value not in path.read_text()


async def test_a_missing_secret_is_refused(jobs: Jobs) -> None:
    with pytest.raises(NotFound, match=r"no secret for the job .* named 'TOKEN'"):
        await jobs.run(jobs.spec("true", secrets=("TOKEN",)))
    with pytest.raises(InvalidInput, match="no step asks for it"):
        await jobs.run(jobs.spec("true"), OTHER="x")


async def test_a_step_that_takes_too_long(jobs: Jobs) -> None:
    job, events = await jobs.run(jobs.spec(JobStep("slow", run="sleep 60 & sleep 60", timeout_s=0.3)))
    assert (job.state, job.exit_code) == (JobState.FAILED, 124)
    assert "timeout" in warnings(events)


async def test_a_job_that_takes_too_long(jobs: Jobs) -> None:
    job, events = await jobs.run(jobs.spec("echo begun; sleep 60", timeout_s=2))
    assert (job.state, job.exit_code, job.error_code) == (JobState.TIMED_OUT, 124, "deadline_exceeded")
    assert outcomes(job) == ["cancelled"]
    assert output(events) == "begun\n"
    await nothing_left(jobs)


async def test_cancelled_in_a_step(jobs: Jobs) -> None:
    job = await jobs.service.submit(jobs.spec("echo begun; sleep 60", "true"))
    async for event in jobs.service.events(job.id):
        if event.kind == "output":
            await jobs.service.cancel(job.id)
    ended = await jobs.service.wait(job.id)
    assert (ended.state, ended.exit_code) == (JobState.CANCELLED, 130)
    assert outcomes(ended) == ["cancelled"]
    await nothing_left(jobs)
    assert (await jobs.service.cancel(job.id)).state is JobState.CANCELLED


@pytest.mark.parametrize("kind", ["", "phase", "step_started"])
async def test_cancelled_at_any_moment(jobs: Jobs, kind: str) -> None:
    job = await jobs.service.submit(jobs.spec("sleep 60"))
    if not kind:
        await jobs.service.cancel(job.id)
    async for event in jobs.service.events(job.id):
        if event.kind == kind:
            await jobs.service.cancel(job.id)
    assert (await jobs.service.wait(job.id)).state is JobState.CANCELLED
    await nothing_left(jobs)


async def test_a_vm_that_dies_in_a_step(jobs: Jobs) -> None:
    job = await jobs.service.submit(jobs.spec("echo begun; kill -9 $PPID"))
    ended = await asyncio.wait_for(jobs.service.wait(job.id), 10)
    assert (ended.state, ended.exit_code) == (JobState.FAILED, 125)
    assert ended.error_code in ("vm_crashed", "channel_closed")
    assert ended.error
    assert outcomes(ended) == ["failed"]
    await nothing_left(jobs)


async def test_a_job_whose_vm_died_is_begun_anew(data_dir: Path, tmp_path: Path) -> None:
    async with fake_jobs(data_dir, tmp_path, background=True) as jobs:
        mark = tmp_path / "mark"
        script = f"if test -e {mark}; then echo again; else touch {mark}; kill -9 $PPID; fi"
        job, events = await jobs.succeed(jobs.spec(script))
        assert job.attempt == 2
        assert "tried again" in warnings(events)
        assert [each.error_code for each in await jobs.platform.tasks.attempts(job.task_id or "")][1] == ""
        await nothing_left(jobs)


async def test_an_endless_writer_is_cut_off(data_dir: Path, tmp_path: Path) -> None:
    async with fake_jobs(data_dir, tmp_path, job_log_mib=1) as jobs:
        job, events = await jobs.run(jobs.spec(JobStep("endless", run="yes", timeout_s=2), "echo after"))
        assert warnings(events).count("further output is dropped") == 1
        assert job.steps[0].log_bytes > 2 << 20
        files = [path for path in jobs.service.directory(job.id).rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) < 3 << 20


async def test_a_program_that_is_not_there(jobs: Jobs) -> None:
    job, events = await jobs.run(jobs.spec(JobStep("x", argv=("/nothing/here",))))
    assert (job.state, job.exit_code) == (JobState.FAILED, 127)
    assert "No such file" in warnings(events)


async def test_a_required_artifact_that_is_missing(jobs: Jobs) -> None:
    spec = jobs.spec(
        "echo x > there",
        artifacts=(ArtifactRule("not/*.xml", "a", required=True), ArtifactRule("there", "b")),
        patch=False,
    )
    job, _ = await jobs.run(spec)
    assert (job.state, job.error_code, job.exit_code) == (JobState.FAILED, "artifact_missing", 125)
    assert "not/*.xml" in job.error
    assert [artifact.name for artifact in job.artifacts] == ["b"]


async def test_an_artifact_above_its_limit(jobs: Jobs) -> None:
    spec = jobs.spec("head -c 5000 /dev/zero > big", artifacts=(ArtifactRule("big", "big", max_bytes=4999),))
    job, _ = await jobs.run(spec)
    assert (job.state, job.error_code) == (JobState.FAILED, "limit_exceeded")
    assert not (jobs.service.directory(job.id) / "artifacts" / "big").exists()


async def test_a_source_that_is_not_there_fails_the_job(jobs: Jobs) -> None:
    job, events = await jobs.run(jobs.spec("true", source=GitSource("/nothing/here")))
    assert (job.state, job.error_code, job.exit_code) == (JobState.FAILED, "source_failed", 125)
    assert events[-1].data["error"] == job.error
    await nothing_left(jobs)


async def test_an_image_that_is_not_there_fails_the_job(jobs: Jobs, tmp_path: Path) -> None:
    job, _ = await jobs.run(jobs.spec("true", image="nothing", source=DirectorySource(str(tmp_path))))
    assert (job.state, job.error_code) == (JobState.FAILED, "not_found")


async def test_changes_against_the_commit_and_against_what_was_delivered(jobs: Jobs, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    await repository(origin, {"a": b"1\n", "b": b"1\n"})
    (origin / "a").write_bytes(b"2\n")
    (origin / "mine").write_bytes(b"new\n")
    spec = jobs.spec("echo 3 > b; rm -rf .git", source=DirectorySource(str(origin)))
    job, _ = await jobs.succeed(spec)
    directory = jobs.service.directory(job.id)
    assert job.patch is not None
    assert (job.patch.files, job.patch.delta) == (3, "delta.patch")
    await git(origin, "apply", str(directory / "delta.patch"))
    assert content(origin) == content(Path(spec.workdir))
    await git(origin, "stash", "-q", "-u")
    await git(origin, "apply", str(directory / "changes.patch"))
    assert content(origin) == content(Path(spec.workdir))


async def test_no_changes_no_patch(jobs: Jobs, tmp_path: Path) -> None:
    await repository(tmp_path / "origin", {"a": b"1\n", ".gitignore": b"*.o\n"})
    spec = jobs.spec("touch x.o; git status", source=GitSource(str(tmp_path / "origin")))
    job, _ = await jobs.succeed(spec)
    assert job.patch is None
    assert not (jobs.service.directory(job.id) / "changes.patch").exists()


async def test_events_from_the_middle_and_by_several(jobs: Jobs) -> None:
    job = await jobs.service.submit(jobs.spec("for i in 1 2 3 4 5; do echo $i; sleep 0.02; done"))

    async def follow(after: int) -> list[int]:
        return [event.seq async for event in jobs.service.events(job.id, after=after)]

    first, second = await asyncio.gather(follow(0), follow(5))
    assert first == list(range(1, len(first) + 1))
    assert second == first[5:]
    assert await follow(5) == second
    assert await follow(10_000) == []


async def test_a_reader_that_does_not_read_holds_nothing_up(jobs: Jobs) -> None:
    job = await jobs.service.submit(jobs.spec("head -c 3000000 /dev/zero | tr '\\0' x"))
    lazy = aiter(jobs.service.events(job.id))
    await anext(lazy)
    assert (await jobs.service.wait(job.id)).state is JobState.SUCCEEDED
    rest = [event async for event in lazy]
    assert len(output(rest)) == 3_000_000


async def test_jobs_wait_for_their_turn(data_dir: Path, tmp_path: Path) -> None:
    async with fake_jobs(data_dir, tmp_path, background=True, worker_vcpus=1) as jobs:
        first = await jobs.service.submit(jobs.spec("sleep 60"))
        async for event in jobs.service.events(first.id):
            if event.kind == "step_started":
                break
        second = await jobs.service.submit(jobs.spec("true"))
        third = await jobs.service.submit(jobs.spec("true"))
        assert (await jobs.service.get(second.id)).state is JobState.PENDING
        await jobs.service.cancel(third.id)
        assert (await jobs.service.wait(third.id)).state is JobState.CANCELLED
        await jobs.service.cancel(first.id)
        assert (await jobs.service.wait(second.id)).state is JobState.SUCCEEDED


async def test_the_last_event_of_a_job_whose_command_was_killed(jobs: Jobs) -> None:
    store, now = jobs.platform.host.store, jobs.platform.host.clock.now()
    worker = await store.workers.register(WorkerInfo(new_id("wkr"), "dead", private=True), lease_s=60.0)
    dead = Job(new_id(JOB), jobs.spec("true"), JobState.PENDING, now)
    spec = TaskSpec("job.run", {"job_id": dead.id}, retry=Retry(max_attempts=1))
    new = NewTask(new_id("task"), "default", spec, worker_id=worker.id)
    await store.tasks.accept([new])
    await store.jobs.add(replace(dead, task_id=new.id))
    journal = FileJournal(jobs.service.directory(dead.id), jobs.platform.host.clock, 1 << 20)
    async with journal.writing():
        journal.emit("step_started", step="s1")
    await store.tasks.claim([(new.id, 1)], worker.id, worker.incarnation)
    await jobs.platform.reconciler.reconcile()
    events = [event async for event in jobs.service.events(dead.id)]
    assert [(event.seq, event.kind) for event in events] == [(1, "step_started"), (2, "finished")]
    assert events[-1].data["error_code"] == "worker_lost"
    assert (await jobs.service.wait(dead.id)).exit_code == 125


async def test_a_job_of_another_process_is_followed_and_cancelled(data_dir: Path, tmp_path: Path) -> None:
    async with (
        fake_jobs(data_dir, tmp_path, background=True, lease_s=1.0) as daemon,
        fake_jobs(data_dir, tmp_path) as command,
    ):
        job = await daemon.service.submit(daemon.spec("echo here; sleep 60"))
        async for event in command.service.events(job.id):
            if event.kind == "output":
                await command.service.cancel(job.id)
        assert (await command.service.wait(job.id)).state is JobState.CANCELLED
        await nothing_left(daemon)


async def test_a_job_is_deleted_with_all_it_has(jobs: Jobs) -> None:
    job, _ = await jobs.succeed(jobs.spec("true"))
    directory = jobs.service.directory(job.id)
    assert directory.exists()
    await jobs.service.delete(job.id)
    assert not directory.exists()
    with pytest.raises(NotFound):
        await jobs.service.get(job.id)


async def test_a_running_job_is_not_deleted(jobs: Jobs) -> None:
    job = await jobs.service.submit(jobs.spec("sleep 60"))
    with pytest.raises(Conflict):
        await jobs.service.delete(job.id)


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc/passwd", "a\0", "x" * 300])
async def test_an_artifact_cannot_choose_its_place(jobs: Jobs, name: str) -> None:
    with pytest.raises(InvalidInput):
        await jobs.run(jobs.spec("true", artifacts=(ArtifactRule("x", name),)))


async def test_the_end_of_a_command_cancels_its_jobs(data_dir: Path, tmp_path: Path) -> None:
    async with fake_jobs(data_dir, tmp_path) as jobs:
        job = await jobs.service.submit(jobs.spec("sleep 60"))
        await until_it_runs(jobs, job)
    async with fake_jobs(data_dir, tmp_path) as jobs:
        ended = await jobs.service.get(job.id)
        assert (ended.state, ended.steps[0].outcome) == (JobState.CANCELLED, StepOutcome.CANCELLED)
        assert await jobs.platform.host.store.workers.list(private=True) == []
        await nothing_left(jobs)


async def test_the_end_of_a_daemon_hands_its_jobs_back(data_dir: Path, tmp_path: Path) -> None:
    marker = tmp_path / "go"
    async with fake_jobs(data_dir, tmp_path, background=True) as jobs:
        script = f"echo begun; while ! test -e {marker}; do sleep 0.02; done; echo done"
        job = await jobs.service.submit(jobs.spec(script), secrets={})
        await until_it_runs(jobs, job)
    async with fake_jobs(data_dir, tmp_path) as jobs:
        assert (await jobs.service.get(job.id)).state is JobState.PENDING
        await nothing_left(jobs)
    marker.touch()
    async with fake_jobs(data_dir, tmp_path, background=True) as jobs:
        events = [event async for event in jobs.service.events(job.id)]
        ended = await jobs.service.get(job.id)
        assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2)
        assert [event.seq for event in events] == sorted(event.seq for event in events)
        assert output(events).endswith("begun\ndone\n")


async def until_it_runs(jobs: Jobs, job: Job) -> None:
    async for event in jobs.service.events(job.id):
        if event.kind == "step_started":
            return
