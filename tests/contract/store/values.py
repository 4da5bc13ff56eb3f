"""Values for the tests of the store, and tasks brought to where a test begins."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aetherium.domain.executions import Execution, ExecutionSpec, ExecutionState
from aetherium.domain.ids import new_id
from aetherium.domain.jobs import Job, JobSpec, JobState, JobStep
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.tasks import Task, TaskSpec
from aetherium.domain.vms import VM, VMSpec, VMState
from aetherium.domain.workers import Worker, WorkerInfo
from aetherium.interfaces.store import Store
from aetherium.interfaces.task_store import LeaderEpoch, NewTask, Placement

BEGIN = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
DIGEST = "sha256:" + "0" * 64
# Longer than any test takes.
LONG_S = 3600.0


def a_vm(at: datetime = BEGIN, **spec: Any) -> VM:
    """A VM that is being created."""
    wanted = replace(VMSpec(), **spec)
    return VM(new_id("vm"), wanted, VMState.CREATING, "fake", DIGEST, at, at, at, owner="me")


def an_execution(vm: VM, state: ExecutionState = ExecutionState.RUNNING) -> Execution:
    """An execution of `vm`."""
    return Execution(new_id("ex"), vm.id, ExecutionSpec(("true",)), state, BEGIN, BEGIN)


def a_job() -> Job:
    """A job that waits."""
    return Job(new_id("job"), JobSpec((JobStep("a", run="x"),)), JobState.PENDING, BEGIN)


def a_task(*, project_id: str = DEFAULT_PROJECT, key: str = "", **spec: Any) -> NewTask:
    """A task to be accepted."""
    wanted = TaskSpec(**{"type": "test", **spec})
    return NewTask(new_id("task"), project_id, wanted, key, sealed=b"sealed")


async def accepted(store: Store, **task: Any) -> Task:
    """A task that was accepted; arguments as those of a_task."""
    return (await store.tasks.accept([a_task(**task)]))[0]


async def a_worker(store: Store, **info: Any) -> Worker:
    """A worker that is there."""
    worker_id = new_id("wkr")
    return await store.workers.register(WorkerInfo(worker_id, f"host-{worker_id}", **info), lease_s=LONG_S)


async def a_leader(store: Store, holder: str = "me") -> LeaderEpoch:
    """The leadership, which nobody else has."""
    epoch = await store.leaders.lead("orchestrator", holder, lease_s=LONG_S)
    assert epoch is not None
    return epoch


async def placed(store: Store, worker: Worker, *task_ids: str) -> None:
    """Put queued tasks on a worker."""
    epoch = await a_leader(store)
    done = await store.tasks.place([Placement(each, worker.id) for each in task_ids], epoch)
    assert set(done) == set(task_ids)


async def running(store: Store, worker: Worker, task_id: str) -> Task:
    """A queued task with its next attempt begun."""
    await placed(store, worker, task_id)
    attempt = (await store.tasks.get(task_id)).attempt + 1
    return (await store.tasks.claim([(task_id, attempt)], worker.id, worker.incarnation))[0]
