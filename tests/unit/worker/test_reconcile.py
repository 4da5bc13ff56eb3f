"""Reconciliation, rule by rule."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from aetherium.bootstrap import Platform
from aetherium.domain.errors import NotFound, Unavailable
from aetherium.domain.executions import ExecutionSpec, ExecutionState
from aetherium.domain.ids import new_id
from aetherium.domain.jobs import Job, JobSpec, JobState, JobStep
from aetherium.domain.tasks import Retry, TaskSpec, TaskState
from aetherium.domain.vms import VM, VMSpec, VMState
from aetherium.domain.workers import WorkerInfo
from aetherium.interfaces.drivers import Condition, Launch
from aetherium.interfaces.pool import JOB_LABEL, TASK_LABEL
from aetherium.interfaces.task_store import NewTask
from aetherium.services.connections import handle_of
from tests.fixtures.platform import data_dir, fake_platform
from tests.fixtures.waiting import eventually

__all__ = ["data_dir"]

DEAD = "0123456789abcdef"


async def reconciled(platform: Platform, vm: VM) -> VM:
    """The row afterwards."""
    await platform.reconciler.reconcile()
    return await platform.vms.get(vm.id)


async def a_launch(platform: Platform) -> Launch:
    """A VM that nothing knows."""
    image = await platform.images.get("base")
    return Launch(new_id("vm"), await platform.host.images.paths(image.digest), VMSpec().resources)


async def test_the_vm_of_a_dead_owner_is_deleted_and_that_of_a_living_one_is_not(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform:
        mine = await platform.vms.create(VMSpec(), owner=platform.host.owner)
        orphan = await platform.vms.create(VMSpec(), owner=DEAD)
        async with fake_platform(data_dir, background=False):
            pass
        assert (await platform.vms.get(mine.id)).state is VMState.RUNNING
        with pytest.raises(NotFound):
            await platform.vms.get(orphan.id)
        assert await platform.host.drivers.get("fake").owned() == [mine.id]


async def test_a_row_without_a_vm_whose_maker_has_died_goes(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform:
        digest = (await platform.images.get("base")).digest
        now = platform.host.clock.now()
        row = VM(new_id("vm"), VMSpec(), VMState.CREATING, "fake", digest, now, now, now, owner=DEAD)
        await platform.host.store.vms.add(row)
        mine = replace(row, id=new_id("vm"), owner=platform.host.owner)
        await platform.host.store.vms.add(mine)
        platform.host.making.add(mine.id)
        await platform.reconciler.reconcile()
        assert [vm.id for vm in await platform.host.store.vms.list()] == [mine.id]


async def test_a_vm_that_could_be_neither_made_nor_removed_goes(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> VM:
        raise Unavailable("The database is away.")

    async with fake_platform(data_dir, background=False) as platform:
        with monkeypatch.context() as patched:
            patched.setattr(platform.host.store.vms, "transition", away)
            with pytest.raises(Unavailable):
                await platform.vms.create(VMSpec())
        assert len(await platform.host.drivers.get("fake").owned()) == 1
        await platform.reconciler.reconcile()
        assert await platform.host.store.vms.list() == []
        assert await platform.host.drivers.get("fake").owned() == []


async def test_a_vm_without_a_row_is_removed(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform:
        driver = platform.host.drivers.get("fake")
        handle = await driver.start(await a_launch(platform))
        await platform.reconciler.reconcile()
        assert await driver.owned() == []
        pid = handle.data["pid"]
        assert isinstance(pid, int)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_vm_that_ended_unseen_has_failed(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform:
        vm = await platform.vms.create(VMSpec())
        execution = await platform.executions.start(vm.id, ExecutionSpec(("sleep", "60")))
    pid = handle_of(vm).data["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    async with fake_platform(data_dir, background=False) as platform:
        found = await platform.vms.get(vm.id)
        assert (found.state, bool(found.reason)) == (VMState.FAILED, True)
        assert (await platform.executions.get(execution.id)).state is ExecutionState.LOST


async def test_a_row_says_what_the_vm_does(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform:
        vm = await platform.vms.create(VMSpec())
        await platform.vms.pause(vm.id)
        await platform.host.drivers.get("fake").resume(handle_of(vm))

        async def runs() -> bool:
            return (await reconciled(platform, vm)).state is VMState.RUNNING

        await eventually(runs)
        await platform.executions.run(vm.id, ExecutionSpec(("true",)))


async def test_a_vm_that_was_left_paused_goes_on(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform:
        vm = await platform.vms.create(VMSpec())
        driver = platform.host.drivers.get("fake")
        await driver.pause(handle_of(vm))

        async def paused() -> bool:
            return (await driver.inspect(handle_of(vm))).condition is Condition.PAUSED

        await eventually(paused)
        async with platform.host.locks.hold(vm.id):  # somebody makes a snapshot of it
            assert (await reconciled(platform, vm)).state is VMState.RUNNING
            assert await paused()
        assert (await reconciled(platform, vm)).state is VMState.RUNNING
        assert not await paused()
        await platform.executions.run(vm.id, ExecutionSpec(("true",)))


async def test_a_stop_that_was_cut_is_finished(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform:
        vm = await platform.vms.create(VMSpec())
        await platform.host.store.vms.transition(vm.id, VMState.STOPPING)
        async with platform.host.locks.hold(vm.id):
            assert (await reconciled(platform, vm)).state is VMState.STOPPING
        assert (await reconciled(platform, vm)).state is VMState.STOPPED


async def test_files_of_nobody_are_removed_and_those_of_others_stay(data_dir: Path) -> None:
    async with fake_platform(data_dir, forkable=True, background=False) as platform:
        vm = await platform.vms.create(VMSpec())
        snapshot = await platform.snapshots.create(vm.id)
        digest = vm.image_digest
        job, given_up, submitted, key = new_id("job"), new_id("job"), new_id("job"), "0" * 32
        doomed = [
            f"snapshots/{new_id('snap')}/memory",
            f"forks/{DEAD}.{vm.id}/memory",
            f"jobs/{job}/events.ndjson",
            f"jobs/{given_up}/source.tar",
            f"warm/{key}.{DEAD}.tmp/memory",
            f"warm/{key}.lock",
            f"locks/{vm.id}.lock",
            f"owners/{DEAD}",
        ]
        kept = [
            "jobs/notes/mine",
            f"jobs/{submitted}/source.tar",
            f"forks/{platform.host.owner}.{vm.id}/memory",
        ]
        make_files(data_dir, [*doomed, *kept])
        for path in (data_dir / "jobs" / given_up / "source.tar", data_dir / "jobs" / given_up):
            os.utime(path, (0, 0))
        await platform.host.images.hold(digest, new_id("vm"))
        await platform.host.images.hold(digest, "somebody-else")
        await platform.reconciler.reconcile()
        assert present(data_dir, doomed) == []
        assert present(data_dir, kept) == kept
        holders = set(await platform.host.images.holders(digest))
        assert holders == {vm.id, snapshot.id, "somebody-else"}


def make_files(data_dir: Path, names: list[str]) -> None:
    """Empty files."""
    for name in names:
        (data_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (data_dir / name).touch()


def present(data_dir: Path, names: list[str]) -> list[str]:
    """Which of them are there, or their directory."""
    return [name for name in names if (data_dir / name).exists()]


async def test_the_jobs_of_a_command_that_was_killed_have_failed(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform:
        store, now = platform.host.store, platform.host.clock.now()
        jobs = {}
        for owner in (DEAD, platform.host.owner):
            worker = await store.workers.register(
                WorkerInfo(new_id("wkr"), owner, private=True), lease_s=60.0
            )
            for begun in (True, False):
                job = Job(new_id("job"), JobSpec((JobStep("a", run="x"),)), JobState.PENDING, now)
                spec = TaskSpec("job.run", {"job_id": job.id}, retry=Retry(max_attempts=1))
                new = NewTask(new_id("task"), "default", spec, worker_id=worker.id)
                await store.tasks.accept([new])
                await store.jobs.add(replace(job, task_id=new.id))
                if begun:
                    await store.tasks.claim([(new.id, 1)], worker.id, worker.incarnation)
                jobs[owner, begun] = (job.id, new.id)
        await platform.reconciler.reconcile()
        for begun in (True, False):
            job = await store.jobs.get(jobs[DEAD, begun][0])
            assert (job.state, job.error_code) == (JobState.FAILED, "worker_lost")
            assert (await store.tasks.get(jobs[DEAD, begun][1])).state is TaskState.DEAD
            assert (await store.jobs.get(jobs[platform.host.owner, begun][0])).state is JobState.PENDING
        assert [each.info.name for each in await store.workers.list(private=True)] == [platform.host.owner]


async def test_a_vm_that_was_given_up_and_runs_is_ended(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform:
        vm = await platform.vms.create(VMSpec())
        await platform.host.connections.drop(vm.id)
        await platform.host.store.vms.transition(vm.id, VMState.FAILED, reason="its worker was removed")
        await platform.reconciler.reconcile()
        seen = await platform.host.drivers.get(vm.driver).inspect(handle_of(vm))
        assert seen.condition is Condition.GONE


async def test_the_vm_of_a_job_that_has_ended_is_removed(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform:
        store, now, me = platform.host.store, platform.host.clock.now(), platform.host.owner
        spec, kept = JobSpec((JobStep("a", run="x"),)), []
        for state, owner, ours in (
            (JobState.FAILED, None, False),
            (JobState.RUNNING, "somebody-else", False),
            (JobState.RUNNING, me, True),
        ):
            job = Job(new_id("job"), spec, state, now, owner=owner)
            vm = await platform.vms.create(VMSpec(labels={JOB_LABEL: job.id}), owner=me)
            await store.jobs.add(replace(job, vm_id=vm.id))
            if ours:
                kept.append(vm.id)
                await platform.vms.create(VMSpec(labels={JOB_LABEL: job.id}), owner=me)
        await platform.reconciler.reconcile()
        assert [vm.id for vm in await platform.vms.list()] == kept


async def test_a_vm_whose_making_was_not_recorded_goes_when_its_task_has_ended(data_dir: Path) -> None:
    async with fake_platform(data_dir, reconcile_interval_s=600.0) as platform:
        task = await platform.tasks.submit(TaskSpec("vm.create", {"spec": {}}))
        done = await platform.tasks.wait(task.id)
        assert done.result is not None
        kept = [str(done.result["vm_id"])]
        twin = await platform.vms.create(VMSpec(labels={TASK_LABEL: task.id}))
        early = await platform.tasks.submit(TaskSpec("system.noop", {"sleep_s": 60}))
        mine = await platform.vms.create(VMSpec(labels={TASK_LABEL: early.id}))
        forgotten = await platform.vms.create(VMSpec(labels={TASK_LABEL: new_id("task")}))
        await platform.reconciler.reconcile()
        left = {vm.id for vm in await platform.vms.list()}
        assert left == {*kept, mine.id, forgotten.id}
        assert twin.id not in left
        await platform.tasks.cancel(early.id)
        await platform.tasks.wait(early.id)
        await platform.reconciler.reconcile()
        assert {vm.id for vm in await platform.vms.list()} == {*kept, forgotten.id}


async def test_two_processes_reconcile_at_once(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform:
        for _ in range(3):
            await platform.vms.create(VMSpec(), owner=DEAD)
        kept = await platform.vms.create(VMSpec())
        async with (
            fake_platform(data_dir, background=False) as first,
            fake_platform(data_dir, background=False) as second,
        ):
            assert [vm.id for vm in await first.vms.list()] == [kept.id]
            await second.executions.run(kept.id, ExecutionSpec(("true",)))
