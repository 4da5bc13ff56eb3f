"""What is done to many tasks at once, over pages."""

from __future__ import annotations

import pytest

from aetherium.domain.tasks import TaskSpec, TaskState
from aetherium.services import bulk
from tests.contract.store.values import a_worker
from tests.unit.services.conftest import NOOP, Services


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "MOST_AT_ONCE", 2)


async def test_all_that_fit_are_cancelled(services: Services) -> None:
    await services.tasks.submit_many([TaskSpec("system.noop", group="a")] * 5)
    others = await services.tasks.submit_many([NOOP] * 2)
    ended = await services.tasks.cancel(others[0].id)
    assert await bulk.cancel(services.tasks, group="a", reason="No more.") == 5
    found = await services.tasks.list(group="a")
    assert {(task.state, task.error) for task in found} == {(TaskState.CANCELLED, "No more.")}
    assert await services.tasks.get(ended.id) == ended
    assert await bulk.cancel(services.tasks) == 1


async def test_dead_ones_are_tried_anew_or_put_aside_once_each(services: Services) -> None:
    worker = await a_worker(services.store)
    tasks = await services.tasks.submit_many([NOOP] * 6)
    for index, task in enumerate(tasks[:5]):
        await services.end(worker, task, code="bad" if index < 3 else "worse")
    assert await bulk.requeue(services.tasks, error_code="bad") == 3
    assert await bulk.requeue(services.tasks, error_code="bad") == 0
    assert await bulk.discard(services.tasks) == 2
    states = [(await services.tasks.get(task.id)).state for task in tasks]
    assert states == [TaskState.QUEUED] * 3 + [TaskState.DISCARDED] * 2 + [TaskState.QUEUED]
