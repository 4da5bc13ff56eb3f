"""The dispatcher over a real store and the queue in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aetherium.domain.ids import TASK, WORKER, new_id
from aetherium.domain.tasks import Priority, TaskSpec
from aetherium.domain.workers import Capacity, WorkerInfo
from aetherium.interfaces.clock import SystemClock
from aetherium.interfaces.store import Store
from aetherium.interfaces.task_store import LeaderEpoch, NewTask
from aetherium.orchestrator.dispatcher import Dispatcher
from aetherium.orchestrator.placement import Strategy
from aetherium.queue.memory import open_memory_queue
from aetherium.storage.store import open_store


@asynccontextmanager
async def leading(path: Path) -> AsyncIterator[tuple[Store, Dispatcher, LeaderEpoch]]:
    async with open_store(path / "aetherium.db", SystemClock()) as store, open_memory_queue() as queue:
        weights = dict.fromkeys(Priority, 1)
        dispatcher = Dispatcher(store, queue, weights=weights, strict=False, strategy=Strategy.SPREAD)
        epoch = await store.leaders.lead("orchestrator", "me", lease_s=60)
        assert epoch is not None
        yield store, dispatcher, epoch


async def register(store: Store) -> str:
    info = WorkerInfo(new_id(WORKER), "host", "", "1", Capacity(4, 4, 4096), drivers=("fake",))
    return (await store.workers.register(info, lease_s=60)).id


async def accept(store: Store) -> str:
    return (await store.tasks.accept([NewTask(new_id(TASK), "default", TaskSpec("system.noop"))]))[0].id


async def test_a_worker_that_came_while_a_task_was_put_aside_gets_it(tmp_path: Path) -> None:
    async with leading(tmp_path) as (store, dispatcher, epoch):
        assert not await dispatcher.dispatch(epoch)  # it knows now that there is no worker
        worker = await register(store)
        task = await accept(store)
        await dispatcher.dispatch(epoch)
        await dispatcher.dispatch(epoch)
        assert (await store.tasks.get(task)).worker_id == worker
