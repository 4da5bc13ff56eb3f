"""Workers as operators handle them."""

from __future__ import annotations

import pytest

from aetherium.domain.errors import Conflict, NotFound
from aetherium.domain.workers import Usage, WorkerState
from tests.contract.store.values import a_worker, placed
from tests.unit.services.conftest import NOOP, Services


async def test_they_are_seen_with_what_is_in_use(services: Services) -> None:
    busy, idle = await a_worker(services.store), await a_worker(services.store)
    private = await a_worker(services.store, private=True)
    tasks = await services.tasks.submit_many([NOOP, NOOP])
    await placed(services.store, busy, *(task.id for task in tasks))
    found = {status.worker.id: status.usage for status in await services.workers.list()}
    assert found == {busy.id: Usage(tasks=2), idle.id: Usage()}
    assert (await services.workers.get(busy.info.name)).usage == Usage(tasks=2)
    assert (await services.workers.get(private.id)).worker.info.private
    with pytest.raises(NotFound):
        await services.workers.get("nobody")


async def test_draining_is_seen_and_told(services: Services) -> None:
    worker = await a_worker(services.store)
    async with services.bus.listen(["dispatch"]) as hints:
        drained = await services.workers.drain(worker.info.name)
        assert (drained.worker.state, drained.worker.drain) == (WorkerState.DRAINING, True)
        active = await services.workers.activate(worker.id)
        assert (active.worker.state, active.worker.drain) == (WorkerState.ACTIVE, False)
        for _ in range(2):
            assert await anext(aiter(hints)) == ("dispatch", "settings")


async def test_only_those_that_are_gone_are_forgotten(services: Services) -> None:
    worker = await a_worker(services.store)
    with pytest.raises(Conflict):
        await services.workers.remove(worker.id)
    await services.store.workers.stop(worker.id, worker.incarnation)
    await services.workers.remove(worker.info.name)
    assert await services.workers.list() == []
    with pytest.raises(NotFound):
        await services.workers.remove(worker.id)
