"""Creates the tasks of schedules that are due, each time once."""

from __future__ import annotations

import logging
from dataclasses import replace

from aetherium.domain.errors import AetheriumError
from aetherium.domain.schedules import Schedule
from aetherium.domain.tasks import ENDED, TaskSpec
from aetherium.interfaces.store import Store
from aetherium.services import cron
from aetherium.services.tasks import TaskService

log = logging.getLogger(__name__)


class ScheduleRunner:
    """Several may run: of two that fire one time, one gets it (compare-and-set of `next_at`), and the task's
    idempotency key names the time."""

    def __init__(self, store: Store, tasks: TaskService) -> None:
        self._store = store
        self._tasks = tasks

    async def fire(self) -> int:
        """All that are due; how many tasks were created."""
        made = 0
        for schedule, now in await self._store.schedules.due():
            due, after = cron.fired(schedule, now)
            made += await self._fire(
                schedule, replace(after, last_task_id=schedule.last_task_id), due.isoformat()
            )
        if made:
            await self._tasks.hint()
        return made

    async def _fire(self, before: Schedule, after: Schedule, time: str) -> int:
        if not before.spec.overlap and await self._running(before):
            log.info("The schedule %s is passed over: its last task has not ended.", before.name)
            await self._store.schedules.advance(before, after)
            return 0
        try:
            new = self._tasks.prepare(
                _at_once(before.spec.task),
                project=before.project_id,
                idempotency_key=f"{before.id}@{time}",
                schedule_id=before.id,
            )
        except AetheriumError as error:
            log.warning("The schedule %s makes no task: %s", before.name, error)
            await self._store.schedules.advance(before, replace(after, next_at=None, paused=True))
            return 0

        async def work(store: Store) -> bool:
            if not await store.schedules.advance(before, replace(after, last_task_id=new.id)):
                return False
            await store.tasks.accept([new])
            return True

        try:
            return int(await self._store.transaction(work))
        except AetheriumError as error:
            log.warning("The schedule %s made no task this time: %s", before.name, error)
            await self._store.schedules.advance(before, after)
            return 0

    async def _running(self, schedule: Schedule) -> bool:
        newest = await self._store.tasks.list(schedule_id=schedule.id, limit=1)
        return bool(newest) and newest[0].state not in ENDED


def _at_once(spec: TaskSpec) -> TaskSpec:
    return replace(spec, run_at=None)
