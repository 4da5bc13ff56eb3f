"""A small cluster: one orchestrator and one worker as processes, and this process as who submits."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fixtures.waiting import eventually

from aetherium.bus.redis import open_redis_bus
from aetherium.domain.errors import Unavailable
from aetherium.domain.tasks import Task, TaskSpec, TaskState
from aetherium.interfaces.clock import SystemClock
from aetherium.interfaces.store import Store
from aetherium.process import spawned
from aetherium.services.task_types import NOOP, TaskTypes
from aetherium.services.tasks import TaskService
from aetherium.storage.store import open_store
from bench.tasks.services import Services

READY_S = 60.0
END_S = 600.0
# Nothing of a benchmark, and nothing secret: random all the same.
_KEYS = {name: os.urandom(32).hex() for name in ("AETHERIUM_MASTER_KEY", "AETHERIUM_CLUSTER_TOKEN")}


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a benchmark does with it.

    Args:
        url: of its database.
    """

    services: Services
    url: str
    store: Store
    tasks: TaskService

    async def sql(self, statement: str) -> list[tuple[object, ...]]:
        """One statement at the database; the rows that it gives."""
        return await self.services.postgres.execute(statement, self.url)

    async def ended(self, group: str, count: int) -> Sequence[Task]:
        """Wait until `count` tasks of a group have succeeded."""
        await eventually(lambda: self._all_ended(group), within_s=END_S)
        found = await self.store.tasks.list(limit=count + 1, group=group)
        assert len(found) == count
        assert all(task.state is TaskState.SUCCEEDED for task in found)
        return found

    async def _all_ended(self, group: str) -> bool:
        states = [TaskState.QUEUED, TaskState.RUNNING]
        return not await self.store.tasks.list(limit=1, group=group, states=states)


@asynccontextmanager
async def cluster(services: Services, *, worker_tasks: int = 256) -> AsyncIterator[Cluster]:
    """Processes over a fresh database and an empty Redis; they end with the block."""
    await services.redis.flush()
    url = await services.database()
    async with AsyncExitStack() as stack:
        environment = _environment(services, url, worker_tasks)
        for command in (["orchestrator"], ["worker", "run"]):
            await stack.enter_async_context(_process(services.scratch, command, environment))
        store = await stack.enter_async_context(open_store(url, SystemClock()))
        bus = await stack.enter_async_context(open_redis_bus(services.redis.url))
        ready = Cluster(services, url, store, TaskService(store, bus, TaskTypes(), SystemClock()))
        # The first task waits for a leader, and for much that is done once.
        await ready.tasks.submit(noop("first"))
        await ready.ended("first", 1)
        yield ready


def noop(group: str, **payload: object) -> TaskSpec:
    """A task that does nothing. `payload`: see services/task_types.py."""
    return TaskSpec(NOOP, payload, group=group)


def _environment(services: Services, url: str, worker_tasks: int) -> dict[str, str]:
    settings = {
        **_KEYS,
        "AETHERIUM_DATABASE_URL": url,
        "AETHERIUM_REDIS_URL": services.redis.url,
        "AETHERIUM_OBJECTS_URL": f"file://{services.scratch / 'objects'}",
        "AETHERIUM_DRIVERS": '["fake"]',
        "AETHERIUM_POOL": "[]",
        "AETHERIUM_WORKER_TASKS": str(worker_tasks),
    }
    return {key: value for key, value in os.environ.items() if not key.startswith("AETHERIUM_")} | settings


@asynccontextmanager
async def _process(scratch: Path, command: Sequence[str], environment: dict[str, str]) -> AsyncIterator[None]:
    """One of the cluster's, once it is ready."""
    log = scratch / f"{command[0]}.log"
    place = ["--json", "--data-dir", str(scratch / command[0])]
    argv = [sys.executable, "-m", "aetherium", *place, *command]
    with log.open("wb") as errors:
        async with spawned(argv, env=environment, stdout=asyncio.subprocess.PIPE, stderr=errors) as process:
            assert process.stdout is not None
            async with asyncio.timeout(READY_S):
                line = await process.stdout.readline()
            if b"ready" not in line:
                text = await asyncio.to_thread(log.read_text)
                raise Unavailable(f"The {command[0]} did not start: {text[-1000:]}")
            yield
            process.terminate()
            async with asyncio.timeout(READY_S):
                await process.wait()
