"""Services over an SQLite store and a bus in memory, with workers that a test plays itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aetherium.bus.memory import MemoryBus
from aetherium.domain.tasks import Task, TaskSpec, TaskState
from aetherium.domain.workers import Worker
from aetherium.interfaces.clock import SystemClock
from aetherium.interfaces.store import Store
from aetherium.interfaces.task_store import Outcome
from aetherium.services.events import EventService
from aetherium.services.projects import ProjectService
from aetherium.services.queues import QueueService
from aetherium.services.schedules import ScheduleService
from aetherium.services.task_types import TaskTypes
from aetherium.services.tasks import TaskService
from aetherium.services.workers import WorkerService
from aetherium.storage.migrating import migrate
from tests.contract.store.databases import Stores
from tests.contract.store.values import a_leader, running

NOOP = TaskSpec("system.noop")


@dataclass(frozen=True, slots=True)
class Services:
    """What a gateway without VMs has."""

    stores: Stores
    bus: MemoryBus
    tasks: TaskService
    schedules: ScheduleService
    queues: QueueService
    workers: WorkerService
    projects: ProjectService
    events: EventService

    @property
    def store(self) -> Store:
        return self.stores.store

    async def end(
        self, worker: Worker, task: Task, state: TaskState = TaskState.DEAD, code: str = ""
    ) -> None:
        """Carry a queued task out."""
        attempt = (await running(self.store, worker, task.id)).attempt
        await self.store.tasks.finish([Outcome(task.id, attempt, state, error_code=code)])

    async def relay(self) -> None:
        """Move events to the log, and tell, as the orchestrator does."""
        moved = await self.store.events.relay(await a_leader(self.store))
        await self.bus.publish("events", str(moved[-1].seq))


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    path = tmp_path / "aetherium.db"
    migrate(path)
    async with Stores(path) as stores:
        store, bus, types = stores.store, MemoryBus(), TaskTypes()
        tasks = TaskService(store, bus, types, SystemClock())
        yield Services(
            stores,
            bus,
            tasks,
            ScheduleService(store, tasks),
            QueueService(store, bus, types),
            WorkerService(store, bus),
            ProjectService(store, bus),
            EventService(store, bus),
        )
