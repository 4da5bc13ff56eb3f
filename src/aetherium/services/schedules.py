"""Schedules: create, pause, resume, run now. The orchestrator fires them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from aetherium.domain.errors import AlreadyExists, InvalidInput, NotFound
from aetherium.domain.ids import SCHEDULE, new_id
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.schedules import Schedule, ScheduleSpec
from aetherium.domain.tasks import Task, TaskSpec
from aetherium.interfaces.store import Store
from aetherium.services import cron
from aetherium.services.tasks import TaskService

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")


class ScheduleService:
    """See the methods. `ref` is an id, a name, or a unique prefix of an id."""

    def __init__(self, store: Store, tasks: TaskService) -> None:
        self._store = store
        self._tasks = tasks

    async def create(
        self,
        name: str,
        spec: ScheduleSpec,
        *,
        project: str = DEFAULT_PROJECT,
        schedule_id: str | None = None,
    ) -> Schedule:
        """A schedule whose first task is made at its next time. The same `schedule_id` again returns the
        first one.

        Raises InvalidInput (name, zone, cron expression, the task's type or payload), NotFound (project),
        AlreadyExists (name).
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"A schedule cannot be named {name!r}.",
                hint="Use up to 100 letters, digits, '.', '_' and '-'; begin with a letter or digit.",
                field="name",
            )
        cron.check(spec)
        self._check_task(spec.task)
        owner = await self._store.projects.find(project)
        now = await self._store.now()
        own_id = schedule_id or new_id(SCHEDULE)
        schedule = Schedule(own_id, owner.id, name, spec, now, next_at=cron.next_after(spec, now, now))
        try:
            await self._store.schedules.add(schedule)
        except AlreadyExists:
            for known in await self._store.schedules.list() if schedule_id else ():
                if known.id == schedule_id:
                    return known
            raise
        return schedule

    def _check_task(self, task: TaskSpec) -> None:
        if not self._tasks.types.get(task.type).public:
            raise InvalidInput(
                f"Tasks of type {task.type!r} are made by the platform only.", field="task.type"
            )
        self._tasks.prepare(task)

    async def list(self) -> Sequence[Schedule]:
        """By name."""
        return await self._store.schedules.list()

    async def get(self, ref: str) -> Schedule:
        """Raises NotFound."""
        return await self._store.schedules.find(ref)

    async def pause(self, ref: str) -> Schedule:
        """It makes no tasks until it is resumed; those that it has made go on."""
        return await self._change(ref, lambda found, _: replace(found, paused=True, next_at=None))

    async def resume(self, ref: str) -> Schedule:
        """It goes on with its next time; those that passed meanwhile are not made good."""

        def change(found: Schedule, now: datetime) -> Schedule:
            if not found.paused:
                return found
            return replace(found, paused=False, next_at=cron.next_after(found.spec, now, found.created_at))

        return await self._change(ref, change)

    async def _change(self, ref: str, change: Callable[[Schedule, datetime], Schedule]) -> Schedule:
        before = await self._store.schedules.find(ref)
        while (after := change(before, await self._store.now())) != before:
            if await self._store.schedules.advance(before, after):
                return after
            # It has fired in between.
            before = await self._store.schedules.find(before.id)
        return before

    async def run_now(self, ref: str, *, idempotency_key: str = "") -> Task:
        """Make its task now, beside its times, and even if it is paused. With a key that was given before,
        that time's task."""
        schedule = await self._store.schedules.find(ref)
        new = self._tasks.prepare(
            schedule.spec.task,
            project=schedule.project_id,
            idempotency_key=idempotency_key,
            schedule_id=schedule.id,
        )
        await self._tasks.admit([new])

        async def work(store: Store) -> Task:
            task = (await store.tasks.accept([new]))[0]
            # Fails if it fires at this moment: then that task is the newer one.
            await store.schedules.advance(schedule, replace(schedule, last_task_id=task.id))
            return task

        task = await self._store.transaction(work)
        await self._tasks.hint()
        return task

    async def delete(self, ref: str) -> None:
        """Its tasks stay."""
        schedule = await self._store.schedules.find(ref)
        if not await self._store.schedules.remove(schedule.id):
            raise NotFound("schedule", ref)
