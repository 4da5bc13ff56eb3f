"""What a store has to do for schedules."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from aetherium.domain.errors import AlreadyExists, NotFound
from aetherium.domain.ids import new_id
from aetherium.domain.schedules import Schedule, ScheduleSpec
from aetherium.domain.tasks import Priority, TaskSpec
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores
from tests.contract.store.values import BEGIN


def a_schedule(
    name: str = "nightly", next_at: datetime | None = None, project_id: str = "default"
) -> Schedule:
    """A schedule that is due at `next_at`."""
    task = TaskSpec("job.run", {"a": [1]}, Priority.LOW, timeout_s=5)
    spec = ScheduleSpec(task, cron="0 3 * * *", zone="Europe/Berlin", overlap=False)
    return Schedule(new_id("sched"), project_id, name, spec, BEGIN, next_at)


class SchedulesContract:
    """Schedules."""

    async def test_a_schedule_comes_back_as_it_was(self, store: Store) -> None:
        schedule = replace(a_schedule(next_at=BEGIN), last_at=BEGIN, last_task_id="task_1", paused=True)
        await store.schedules.add(schedule)
        for ref in (schedule.id, "nightly", schedule.id[:20]):
            assert await store.schedules.find(ref) == schedule
        assert await store.schedules.list() == [schedule]
        assert await store.schedules.remove(schedule.id)
        assert not await store.schedules.remove(schedule.id)
        with pytest.raises(NotFound):
            await store.schedules.find("nightly")

    async def test_a_name_is_unique_in_its_project(self, store: Store) -> None:
        await store.schedules.add(a_schedule())
        await store.schedules.add(a_schedule(project_id="prj_other"))
        with pytest.raises(AlreadyExists):
            await store.schedules.add(a_schedule())

    async def test_due_are_those_whose_time_has_come(self, stores: Stores) -> None:
        store, now = stores.store, await stores.store.now()
        soon = a_schedule("soon", now + timedelta(hours=1))
        for schedule in (
            a_schedule("b", now - timedelta(seconds=1)),
            a_schedule("a", now - timedelta(seconds=2)),
            soon,
            a_schedule("never"),
        ):
            await store.schedules.add(schedule)
        due = await store.schedules.due()
        assert [schedule.name for schedule, _ in due] == ["a", "b"]
        assert all(now <= at for _, at in due)
        assert [schedule.name for schedule, _ in await store.schedules.due(limit=1)] == ["a"]
        stores.let_pass(3601)
        assert soon in [schedule for schedule, _ in await store.schedules.due()]

    async def test_of_two_that_advance_it_one_does(self, stores: Stores) -> None:
        before = a_schedule(next_at=BEGIN)
        await stores.store.schedules.add(before)
        after = replace(before, next_at=BEGIN + timedelta(1), last_at=BEGIN, last_task_id="task_1")
        processes = [stores.of_another_process() for _ in range(3)]
        done = await asyncio.gather(*(each.schedules.advance(before, after) for each in processes))
        assert sorted(done) == [False, False, True]
        assert await stores.store.schedules.find(before.id) == after

    async def test_one_that_stands_still_can_be_advanced(self, store: Store) -> None:
        before = replace(a_schedule(), paused=True)
        await store.schedules.add(before)
        assert await store.schedules.advance(before, replace(before, paused=False, next_at=BEGIN))
        assert not await store.schedules.advance(before, before)
        assert (await store.schedules.find(before.id)).next_at == BEGIN
