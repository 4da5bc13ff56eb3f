"""Tasks, dead letters among them, and schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Unpack

from aetherium.domain.ids import SCHEDULE, akin
from aetherium.domain.schedules import Schedule, ScheduleSpec
from aetherium.domain.tasks import Attempt, Task, TaskSpec, TaskState
from aetherium.gateway.access.access import Access, refuse_reserved
from aetherium.gateway.access.rules import guards
from aetherium.interfaces.task_store import TaskFilter
from aetherium.services import bulk

if TYPE_CHECKING:
    from aetherium.services.schedules import ScheduleService
    from aetherium.services.task_types import TaskTypes
    from aetherium.services.tasks import TaskService

# What a task does must be allowed to who submits it.
_ALSO: Mapping[str, str] = {
    "vm.create": "vms:write",
    "vm.delete": "vms:write",
    "vm.exec": "executions:write",
}


class Tasks:
    """See TaskService; what is done to many is in services/bulk.py."""

    def __init__(self, access: Access, inner: TaskService) -> None:
        self._access = access
        self._inner = inner

    @property
    def types(self) -> TaskTypes:
        """The same for all."""
        return self._inner.types

    @guards("tasks:write", "task.submit")
    async def submit(self, spec: TaskSpec, *, project: str = "", idempotency_key: str = "") -> Task:
        return (await self._submit([spec], project, [idempotency_key]))[0]

    @guards("tasks:write", "task.submit")
    async def submit_many(
        self, specs: Sequence[TaskSpec], *, project: str = "", idempotency_keys: Sequence[str] = ()
    ) -> Sequence[Task]:
        return await self._submit(specs, project, idempotency_keys)

    async def _submit(self, specs: Sequence[TaskSpec], project: str, keys: Sequence[str]) -> Sequence[Task]:
        for spec in specs:
            allow(self._access, spec)
        made = await self._inner.submit_many(
            specs, project=await self._access.choose(project), idempotency_keys=keys
        )
        for task in made:
            self._access.note(task.id)
        return made

    @guards("tasks:read")
    async def get(self, ref: str) -> Task:
        return await self._inner.get(await self._access.task(ref))

    @guards("tasks:read")
    async def attempts(self, ref: str) -> Sequence[Attempt]:
        return await self._inner.attempts(await self._access.task(ref))

    @guards("tasks:read")
    async def list(
        self, *, limit: int = 100, before: str = "", oldest_first: bool = False, **where: Unpack[TaskFilter]
    ) -> Sequence[Task]:
        return await self._inner.list(
            limit=limit, before=before, oldest_first=oldest_first, **self._narrowed(where)
        )

    @guards("tasks:read")
    async def count(self, **where: Unpack[TaskFilter]) -> Mapping[TaskState, int]:
        return await self._inner.count(**self._narrowed(where))

    @guards("tasks:read")
    async def wait(self, ref: str, *, timeout_s: float | None = None) -> Task:
        return await self._inner.wait(await self._access.task(ref), timeout_s=timeout_s)

    @guards("tasks:write", "task.cancel")
    async def cancel(self, ref: str, *, reason: str = "") -> Task:
        return await self._inner.cancel(await self._access.task(ref), reason=reason)

    @guards("tasks:write", "task.cancel")
    async def cancel_many(self, *, reason: str = "", **where: Unpack[TaskFilter]) -> int:
        return await bulk.cancel(self._inner, reason=reason, **self._narrowed(where))

    @guards("tasks:write", "task.requeue")
    async def requeue(self, ref: str) -> Task:
        return await self._inner.requeue(await self._access.task(ref))

    @guards("tasks:write", "task.requeue")
    async def requeue_many(self, **where: Unpack[TaskFilter]) -> int:
        return await bulk.requeue(self._inner, **self._narrowed(where))

    @guards("tasks:write", "task.discard")
    async def discard(self, ref: str) -> Task:
        return await self._inner.discard(await self._access.task(ref))

    @guards("tasks:write", "task.discard")
    async def discard_many(self, **where: Unpack[TaskFilter]) -> int:
        return await bulk.discard(self._inner, **self._narrowed(where))

    def _narrowed(self, where: TaskFilter) -> TaskFilter:
        one = self._access.caller.project_id
        return where if one is None else {**where, "project_id": one}


class Schedules:
    """See ScheduleService."""

    def __init__(self, access: Access, inner: ScheduleService) -> None:
        self._access = access
        self._inner = inner

    @guards("schedules:write", "schedule.create")
    async def create(self, name: str, spec: ScheduleSpec, *, project: str = "", mark: str = "") -> Schedule:
        """Of a request with a `mark` (see Begun), the schedule that it has made already."""
        allow(self._access, spec.task)
        made = await self._inner.create(
            name, spec, project=await self._access.choose(project), schedule_id=akin(SCHEDULE, mark)
        )
        self._access.note(made.id)
        return made

    @guards("schedules:read")
    async def list(self) -> Sequence[Schedule]:
        return await self._access.store.schedules.list()

    @guards("schedules:read")
    async def get(self, ref: str) -> Schedule:
        return await self._inner.get(await self._access.schedule(ref))

    @guards("schedules:write", "schedule.pause")
    async def pause(self, ref: str) -> Schedule:
        return await self._inner.pause(await self._access.schedule(ref))

    @guards("schedules:write", "schedule.resume")
    async def resume(self, ref: str) -> Schedule:
        return await self._inner.resume(await self._access.schedule(ref))

    @guards("schedules:write", "schedule.run")
    async def run_now(self, ref: str, *, mark: str = "") -> Task:
        """Of a request with a `mark`, the task that it has made already."""
        return await self._inner.run_now(await self._access.schedule(ref), idempotency_key=mark)

    @guards("schedules:write", "schedule.delete")
    async def delete(self, ref: str) -> None:
        await self._inner.delete(await self._access.schedule(ref))


def allow(access: Access, spec: TaskSpec) -> None:
    """Raises Forbidden for a task that does what its submitter may not do, and InvalidInput for one whose VM
    would be taken for the platform's own."""
    access.caller.require("tasks:write")
    if spec.type in _ALSO:
        access.caller.require(_ALSO[spec.type])
    if spec.payload.get("secret_names"):
        access.caller.require("secrets:use")
    wanted = spec.payload.get("spec")
    labels = wanted.get("labels") if isinstance(wanted, Mapping) else None
    # What is of another form is refused by the type's own check.
    if isinstance(labels, Mapping):
        refuse_reserved(labels)
