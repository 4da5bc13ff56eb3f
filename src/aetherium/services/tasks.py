"""Tasks: submit, follow, cancel, and what to do with dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Unpack

from aetherium.domain.errors import (
    Conflict,
    InvalidInput,
    InvalidTransition,
    LimitExceeded,
    NotFound,
    RateLimited,
)
from aetherium.domain.ids import TASK, is_id, new_id
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.tasks import ENDED, TASK_LIFECYCLE, Attempt, Retry, Task, TaskSpec, TaskState
from aetherium.interfaces.bus import EventBus
from aetherium.interfaces.clock import Clock
from aetherium.interfaces.store import Store
from aetherium.interfaces.task_store import NewTask, TaskFilter
from aetherium.services.task_types import TaskTypes

# Topics of the bus.
DISPATCH = "dispatch"
# The message of DISPATCH when the state of workers, queues, limits or quotas has changed.
SETTINGS = "settings"
ENDS = "tasks.ended"
# How often a waiter looks by itself, for hints may be lost.
_LOOK_S = 1.0
MOST_AT_ONCE = 1000
_LONGEST_KEY = 255


def worker_topic(worker_id: str) -> str:
    """Where a worker listens; the message is the id of a task that is being cancelled."""
    return f"worker.{worker_id}"


class TaskService:
    """See the methods. `ref` is an id, or a unique prefix of one."""

    def __init__(self, store: Store, bus: EventBus, types: TaskTypes, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._types = types
        self._clock = clock

    @property
    def types(self) -> TaskTypes:
        """The types there are."""
        return self._types

    async def submit(
        self, spec: TaskSpec, *, project: str = DEFAULT_PROJECT, idempotency_key: str = ""
    ) -> Task:
        """Accept a task; it is durable when this returns. A repeated key returns the first answer.

        Raises InvalidInput, AlreadyExists (`unique_key`), NotFound (`after`, project), LimitExceeded (quota).
        """
        return (await self.submit_many([spec], project=project, idempotency_keys=[idempotency_key]))[0]

    async def submit_many(
        self,
        specs: Sequence[TaskSpec],
        *,
        project: str = DEFAULT_PROJECT,
        idempotency_keys: Sequence[str] = (),
    ) -> Sequence[Task]:
        """Accept several, all or none; at most 1000."""
        if not 1 <= len(specs) <= MOST_AT_ONCE:
            raise InvalidInput(
                f"{len(specs)} tasks were given.", hint=f"Give 1 to {MOST_AT_ONCE}.", field="tasks"
            )
        for spec in specs:
            if not self._types.get(spec.type).public:
                raise InvalidInput(
                    f"Tasks of type {spec.type!r} are made by the platform only.",
                    hint="Submit a job instead." if spec.type == "job.run" else "",
                    field="type",
                )
        keys = [*idempotency_keys] or [""] * len(specs)
        made = [
            self.prepare(spec, project=project, idempotency_key=key)
            for spec, key in zip(specs, keys, strict=True)
        ]
        return await self.accept(made)

    def prepare(
        self,
        spec: TaskSpec,
        *,
        project: str = DEFAULT_PROJECT,
        idempotency_key: str = "",
        schedule_id: str | None = None,
    ) -> NewTask:
        """A checked task with the defaults of its type, to be accepted. Raises InvalidInput."""
        if len(idempotency_key) > _LONGEST_KEY:
            raise InvalidInput(
                f"The idempotency key has {len(idempotency_key)} characters.",
                hint=f"At most {_LONGEST_KEY}.",
                field="idempotency_key",
            )
        kind = self._types.get(spec.type)
        payload = self._types.payload(spec.type, spec.payload)
        changed = replace(spec, payload=self._types.values(payload))
        if kind.demand is not None:
            asked, needed = spec.demand, kind.demand(payload)
            where = {name: getattr(asked, name) for name in ("labels", "worker_id", "machine", "near")}
            changed = replace(changed, demand=replace(needed, **where))
        if spec.retry == Retry():
            changed = replace(changed, retry=kind.retry)
        if spec.timeout_s is None:
            changed = replace(changed, timeout_s=kind.timeout_s)
        return NewTask(new_id(TASK), project, changed, idempotency_key, schedule_id)

    async def accept(self, made: Sequence[NewTask]) -> Sequence[Task]:
        """Record what was prepared, and say that there is something to do."""
        await self.admit(made)
        found = await self._store.tasks.accept(made)
        await self.hint()
        return found

    async def admit(self, made: Sequence[NewTask]) -> None:
        """Raise LimitExceeded for tasks that their project's quota does not allow now."""
        by_project: dict[str, int] = {}
        for new in made:
            by_project[new.project_id] = by_project.get(new.project_id, 0) + 1
        for project_id, count in by_project.items():
            await self._admit(project_id, count)

    async def _admit(self, project_id: str, count: int) -> None:
        project = await self._store.projects.find(project_id)
        quota = project.quota
        if quota.tasks_per_minute is not None:
            recent = await self._store.tasks.recent(project_id, 60.0)
            if recent + count > quota.tasks_per_minute:
                raise RateLimited(
                    f"The project {project.name!r} may submit {quota.tasks_per_minute} tasks per minute,"
                    f" and has submitted {recent} in the last one.",
                    hint="Try again in a minute.",
                    retry_after_s=60.0,
                    limit="tasks_per_minute",
                    allowed=quota.tasks_per_minute,
                    used=recent,
                )
        if quota.waiting is not None:
            states = (TaskState.BLOCKED, TaskState.SCHEDULED, TaskState.QUEUED)
            found = await self._store.tasks.count(project_id=project_id, states=states)
            waiting = sum(found.values())
            if waiting + count > quota.waiting:
                raise LimitExceeded(
                    f"The project {project.name!r} may have {quota.waiting} waiting tasks; it has {waiting}.",
                    hint="Wait until some of them have begun, or cancel some.",
                    limit="waiting",
                    allowed=quota.waiting,
                    used=waiting,
                )

    async def get(self, ref: str) -> Task:
        """Raises NotFound."""
        return await (self._store.tasks.get(ref) if is_id(ref, TASK) else self._store.tasks.find(ref))

    async def attempts(self, ref: str) -> Sequence[Attempt]:
        """All attempts at it, by number."""
        return await self._store.tasks.attempts((await self.get(ref)).id)

    async def list(
        self, *, limit: int = 100, before: str = "", oldest_first: bool = False, **where: Unpack[TaskFilter]
    ) -> Sequence[Task]:
        """Newest first, unless `oldest_first`; only what comes behind the id `before`."""
        return await self._store.tasks.list(limit=limit, before=before, oldest_first=oldest_first, **where)

    async def count(self, **where: Unpack[TaskFilter]) -> Mapping[TaskState, int]:
        """How many there are in each state."""
        return await self._store.tasks.count(**where)

    async def wait(self, ref: str, *, timeout_s: float | None = None) -> Task:
        """The task as it ended, or as it is after `timeout_s` seconds."""
        task = await self.get(ref)
        try:
            async with asyncio.timeout(timeout_s), self._bus.listen([ENDS]) as ends:
                while True:
                    task = await self._store.tasks.get(task.id)
                    if task.state in ENDED:
                        return task
                    await _heard(ends, task.id)
        except TimeoutError:
            return await self._store.tasks.get(task.id)

    async def cancel(self, ref: str, *, reason: str = "") -> Task:
        """What waits is cancelled now, what runs soon. Of a task that has ended nothing changes."""
        task = await self.get(ref)
        await self.cancel_all([task.id], reason=reason)
        return await self._store.tasks.get(task.id)

    async def cancel_all(self, ids: Collection[str], *, reason: str = "") -> Sequence[Task]:
        """The tasks that were changed."""
        changed = await self._store.tasks.cancel(ids, reason=reason)
        await self.tell(changed)
        return changed

    async def tell(self, changed: Sequence[Task]) -> None:
        """Tell those concerned of tasks that were cancelled: their workers, and who waits for them."""
        for task in changed:
            if task.state is TaskState.CANCELLING and task.worker_id:
                await self._bus.publish(worker_topic(task.worker_id), task.id)
        ended = [task.id for task in changed if task.state in ENDED]
        if ended:
            await self._bus.publish(ENDS, " ".join(ended))
            await self.hint()

    async def requeue(self, ref: str) -> Task:
        """A dead task is tried anew. Raises InvalidTransition for any other."""
        task = await self.get(ref)
        if task.state is not TaskState.DEAD:
            raise InvalidTransition(
                f"The task {task.id} is {task.state}, and only a dead one can be requeued.",
                hint="See: aetherium dead-letter list",
                kind="Task",
                current=str(task.state),
                wanted=str(TaskState.QUEUED),
            )
        changed = await self.requeue_all([task.id])
        if not changed:
            raise Conflict(f"The task {task.id} was changed by somebody else.")
        return changed[0]

    async def requeue_all(self, ids: Collection[str]) -> Sequence[Task]:
        """The dead ones among these; those that were queued."""
        changed = await self._store.tasks.requeue(ids)
        await self.hint()
        return changed

    async def discard(self, ref: str) -> Task:
        """A dead task is put aside. Raises InvalidTransition for any other."""
        task = await self.get(ref)
        TASK_LIFECYCLE.check(task.state, TaskState.DISCARDED, task.id)
        changed = await self.discard_all([task.id])
        if not changed:
            raise NotFound("dead letter", ref)
        return changed[0]

    async def discard_all(self, ids: Collection[str]) -> Sequence[Task]:
        """The dead ones among these; those that were put aside."""
        return await self._store.tasks.discard(ids)

    async def hint(self) -> None:
        """Tell the orchestrators that something may be to be done."""
        await self._bus.publish(DISPATCH)


async def _heard(ends: AsyncIterator[tuple[str, str]], task_id: str) -> None:
    """Return when the bus names the task, or after a while."""
    try:
        async with asyncio.timeout(_LOOK_S):
            async for _, message in ends:
                if not message or task_id in message:
                    return
    except TimeoutError:
        return
