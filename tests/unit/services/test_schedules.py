"""Schedules as people handle them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from aetherium.domain.errors import AlreadyExists, InvalidInput, LimitExceeded, NotFound
from aetherium.domain.projects import Quota
from aetherium.domain.schedules import Schedule, ScheduleSpec
from aetherium.domain.tasks import TaskSpec, TaskState
from aetherium.interfaces.cluster_store import ScheduleRepository
from tests.unit.services.conftest import NOOP, Services

HOURLY = ScheduleSpec(NOOP, every_s=3600)


async def test_it_begins_with_its_next_time(services: Services) -> None:
    made = await services.schedules.create("hourly", HOURLY)
    assert made.next_at == made.created_at + timedelta(hours=1)
    assert await services.schedules.get("hourly") == await services.schedules.get(made.id) == made
    assert await services.schedules.list() == [made]


@pytest.mark.parametrize(
    ("name", "spec", "field"),
    [
        ("", HOURLY, "name"),
        ("a b", HOURLY, "name"),
        ("a\n", HOURLY, "name"),
        ("x" * 101, HOURLY, "name"),
        ("a", ScheduleSpec(NOOP, cron="61 * * * *"), "cron"),
        ("a", ScheduleSpec(NOOP, cron="0 3 * * *", zone="Europe/Zuerich"), "zone"),
        ("a", ScheduleSpec(TaskSpec("system.nop"), every_s=60), "type"),
        ("a", ScheduleSpec(TaskSpec("job.run", {"job_id": "job_1"}), every_s=60), "task.type"),
        ("a", ScheduleSpec(TaskSpec("system.noop", {"sleep": 1}), every_s=60), "payload.sleep"),
    ],
)
async def test_what_could_never_make_a_task_is_refused(
    services: Services, name: str, spec: ScheduleSpec, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await services.schedules.create(name, spec)
    assert caught.value.details["field"] == field
    assert await services.schedules.list() == []


async def test_a_name_is_taken_once_and_a_project_has_to_exist(services: Services) -> None:
    await services.schedules.create("a", HOURLY)
    with pytest.raises(AlreadyExists):
        await services.schedules.create("a", HOURLY)
    with pytest.raises(NotFound):
        await services.schedules.create("b", HOURLY, project="nobody")


async def test_a_paused_one_stands_still_and_goes_on_with_its_next_time(services: Services) -> None:
    made = await services.schedules.create("a", HOURLY)
    paused = await services.schedules.pause("a")
    assert (paused.paused, paused.next_at) == (True, None)
    assert await services.schedules.pause("a") == paused
    services.stores.let_pass(5 * 3600 + 60)
    resumed = await services.schedules.resume("a")
    assert (resumed.paused, resumed.next_at) == (False, made.created_at + timedelta(hours=6))
    assert await services.schedules.resume("a") == resumed == await services.schedules.get("a")


async def test_a_pause_that_meets_a_firing_keeps_both(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await services.schedules.create("a", HOURLY)
    fired = replace(made, next_at=made.created_at + timedelta(hours=2), last_at=made.next_at)
    advance = services.store.schedules.advance

    async def fires_before(_: ScheduleRepository, before: Schedule, after: Schedule) -> bool:
        monkeypatch.undo()
        assert await advance(made, fired)
        return await advance(before, after)

    monkeypatch.setattr(type(services.store.schedules), "advance", fires_before)
    paused = await services.schedules.pause("a")
    assert paused == replace(fired, paused=True, next_at=None) == await services.schedules.get("a")


async def test_it_can_be_run_now_even_if_it_is_paused(services: Services) -> None:
    made = await services.schedules.create("a", HOURLY)
    task = await services.schedules.run_now("a")
    assert (task.state, task.schedule_id) == (TaskState.QUEUED, made.id)
    assert await services.schedules.get("a") == replace(made, last_task_id=task.id)
    paused = await services.schedules.pause("a")
    again = await services.schedules.run_now("a")
    assert again.id != task.id
    assert await services.schedules.get("a") == replace(paused, last_task_id=again.id)


async def test_running_it_tells_the_orchestrator(services: Services) -> None:
    await services.schedules.create("a", HOURLY)
    async with services.bus.listen(["dispatch"]) as hints:
        await services.schedules.run_now("a")
        assert await anext(aiter(hints)) == ("dispatch", "")


async def test_a_run_counts_against_the_projects_quota(services: Services) -> None:
    project = await services.projects.create("small", quota=Quota(waiting=1))
    await services.schedules.create("a", HOURLY, project="small")
    first = await services.schedules.run_now("a")
    assert first.project_id == project.id
    with pytest.raises(LimitExceeded):
        await services.schedules.run_now("a")
    assert (await services.schedules.get("a")).last_task_id == first.id


async def test_its_tasks_outlive_it(services: Services) -> None:
    await services.schedules.create("a", HOURLY)
    task = await services.schedules.run_now("a")
    await services.schedules.delete("a")
    assert (await services.tasks.get(task.id)).state is TaskState.QUEUED
    calls: list[Any] = [services.schedules.get, services.schedules.delete, services.schedules.pause]
    for call in calls:
        with pytest.raises(NotFound):
            await call("a")
