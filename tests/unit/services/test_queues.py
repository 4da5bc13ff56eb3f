"""Queues as operators handle them."""

from __future__ import annotations

import pytest

from aetherium.domain.errors import InvalidInput, NotFound
from aetherium.domain.queues import Queue
from aetherium.domain.tasks import Priority, TaskSpec, TypeLimit
from tests.contract.store.values import a_worker, running
from tests.unit.services.conftest import NOOP, Services


async def test_each_priority_says_what_waits_and_what_runs(services: Services) -> None:
    assert await services.queues.list() == [Queue(priority) for priority in Priority]
    now = await services.store.now()
    first, second = await services.tasks.submit_many([NOOP, NOOP])
    await services.tasks.submit(TaskSpec("system.noop", after=(first.id,)))
    await services.tasks.submit(TaskSpec("system.noop", run_at=now.replace(year=now.year + 1)))
    await services.tasks.submit(TaskSpec("system.noop", priority=Priority.LOW))
    worker = await a_worker(services.store)
    await running(services.store, worker, second.id)
    assert await services.queues.get(Priority.DEFAULT) == Queue(
        Priority.DEFAULT, blocked=1, scheduled=1, queued=1, running=1
    )
    assert (await services.queues.get(Priority.LOW)).queued == 1
    await services.tasks.cancel(second.id)
    assert (await services.queues.get(Priority.DEFAULT)).running == 1


async def test_a_pause_is_seen_and_told(services: Services) -> None:
    async with services.bus.listen(["dispatch"]) as hints:
        assert (await services.queues.pause(Priority.HIGH)).paused
        assert [queue.priority for queue in await services.queues.list() if queue.paused] == [Priority.HIGH]
        assert not (await services.queues.resume(Priority.HIGH)).paused
        assert not any(queue.paused for queue in await services.queues.list())
        for _ in range(2):
            assert await anext(aiter(hints)) == ("dispatch", "settings")


async def test_limits_are_those_of_types_that_exist(services: Services) -> None:
    assert await services.queues.limits() == {}
    limit = TypeLimit(per_second=2.5, burst=5, concurrency=3)
    await services.queues.limit("vm.exec", limit)
    await services.queues.limit("job.run", TypeLimit(concurrency=1))
    assert await services.queues.limits() == {"job.run": TypeLimit(concurrency=1), "vm.exec": limit}
    assert list(await services.queues.limits()) == ["job.run", "vm.exec"]
    with pytest.raises(InvalidInput, match=r"vm\.exc"):
        await services.queues.limit("vm.exc", limit)


async def test_a_limit_is_taken_away_once(services: Services) -> None:
    await services.queues.limit("vm.exec", TypeLimit(concurrency=1))
    await services.queues.unlimit("vm.exec")
    assert await services.queues.limits() == {}
    with pytest.raises(NotFound):
        await services.queues.unlimit("vm.exec")
