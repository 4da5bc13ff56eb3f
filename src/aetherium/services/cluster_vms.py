"""Making VMs in a cluster: a task finds the worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from aetherium.domain.errors import AetheriumError
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.snapshots import Snapshot
from aetherium.domain.tasks import ENDED, Demand, Retry, Task, TaskSpec, TaskState
from aetherium.domain.vms import VM, VMSpec
from aetherium.interfaces.pool import REQUEST_LABEL
from aetherium.interfaces.store import Store
from aetherium.services.quotas import admit_vms
from aetherium.services.task_types import VM_CREATE, CreateVM
from aetherium.services.tasks import TaskService
from aetherium.services.vms import silent

# Between two looks at why a VM is not there yet, for who waits for it.
_LOOK_S = 0.5
_LONGEST_KEY = 200


class TaskFailed(AetheriumError):
    """What a task was asked to make was not made; `code` is the task's error."""

    def __init__(self, task: Task) -> None:
        text = task.error or f"The task {task.id} is {task.state}."
        super().__init__(text, hint=f"See: aetherium task show {task.id}", task_id=task.id)
        self.code = task.error_code or "conflict"  # type: ignore[misc]  # what failed, not that it failed


class VMMaker:
    """Makes VMs by tasks of type ``vm.create``."""

    def __init__(self, store: Store, tasks: TaskService) -> None:
        self._store = store
        self._tasks = tasks

    async def create(
        self,
        spec: VMSpec,
        *,
        snapshot: str | None = None,
        project: str = DEFAULT_PROJECT,
        progress: Callable[[str], None] = silent,
    ) -> VM:
        """A running VM. A caller that is cancelled takes its request back.

        Raises LimitExceeded (quota) and what kept the worker from making it.
        """
        demand = Demand()
        if snapshot is not None:
            found = await self._store.of_project(project).snapshots.find(snapshot)
            snapshot, spec, demand = found.id, _fitted(spec, found), _where(found)
        await admit_vms(self._store, project, [spec])
        payload = self._tasks.types.values(CreateVM(spec, snapshot))
        wanted = TaskSpec(VM_CREATE, payload, demand=demand, retry=Retry(max_attempts=4, base_s=0.2))
        task = await self._submit(wanted, project, spec.labels.get(REQUEST_LABEL, ""))
        try:
            ended = await self._follow(task, progress)
        except asyncio.CancelledError:
            await asyncio.shield(self._tasks.cancel_all([task.id], reason="Its caller went away."))
            raise
        if ended.state is not TaskState.SUCCEEDED or ended.result is None:
            raise TaskFailed(ended)
        return await self._store.vms.get(str(ended.result["vm_id"]))

    async def _submit(self, wanted: TaskSpec, project: str, key: str) -> Task:
        """A task, or the one that an earlier request with this key has submitted, unless that one failed."""
        while True:
            task = await self._tasks.submit(wanted, project=project, idempotency_key=key)
            if not key or task.state not in ENDED or task.state is TaskState.SUCCEEDED:
                return task
            key = f"{key}/{task.id}"[-_LONGEST_KEY:]

    async def _follow(self, task: Task, progress: Callable[[str], None]) -> Task:
        said = ""
        while not (now := await self._tasks.wait(task.id, timeout_s=_LOOK_S)).ended_at:
            text = now.reason or ("Waiting for a worker" if not now.attempt else "A worker makes it")
            if text != said:
                said = text
                progress(text)
        return now


def _fitted(spec: VMSpec, snapshot: Snapshot) -> VMSpec:
    """What is restored has the snapshot's size, and goes where there is room for that."""
    return replace(spec, image=snapshot.image_digest, driver=snapshot.driver, resources=snapshot.resources)


def _where(snapshot: Snapshot) -> Demand:
    """Rather the worker that has it on its disk than others that can restore it; none of them if it is in no
    object store."""
    if not snapshot.machine:
        return Demand(worker_id=snapshot.worker_id)
    return Demand(machine=snapshot.machine, near=snapshot.worker_id)
