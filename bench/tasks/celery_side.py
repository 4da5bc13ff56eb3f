"""Celery as it is used most: Redis as its broker, its results in PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from tests.fixtures.waiting import eventually

from aetherium.process import spawned
from bench.tasks.celery_app import BROKER, RESULTS, add, app
from bench.tasks.services import Services

# On two processors as fast as 2; 1 was slower, and threads much slower.
_PROCESSES = 4
_END_S = 600.0


@dataclass(frozen=True, slots=True)
class CeleryWorker:
    """A worker that runs."""

    services: Services
    url: str

    async def burst(self, count: int) -> float:
        """Add so many tasks from a thread, and wait for the last result; tasks per second."""
        wanted = await self._done() + count
        begin = time.time()
        await asyncio.to_thread(add, count)
        await self._reached(wanted)
        return count / (time.time() - begin)

    async def ready(self) -> None:
        """Return when it has done a first task, and made its table by that."""
        await asyncio.to_thread(add, 1)
        await self._reached(1)

    async def _reached(self, count: int) -> None:
        async def reached() -> bool:
            return await self._done() >= count

        await eventually(reached, within_s=_END_S)

    async def _done(self) -> int:
        there = "SELECT to_regclass('celery_taskmeta') IS NOT NULL"
        if not (await self.services.postgres.execute(there, self.url))[0][0]:
            return 0
        query = "SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'"
        return int((await self.services.postgres.execute(query, self.url))[0][0])


@asynccontextmanager
async def celery(services: Services) -> AsyncIterator[CeleryWorker]:
    """With an empty Redis and an empty database."""
    await services.redis.flush()
    url = await services.empty_database()
    results = sa.make_url(url).set(drivername="db+postgresql+psycopg").render_as_string(hide_password=False)
    app.conf.update(broker_url=services.redis.url, result_backend=results)
    environment = {**os.environ, BROKER: services.redis.url, RESULTS: results}
    argv = [sys.executable, "-m", "celery", "-A", "bench.tasks.celery_app", "worker", "-P", "prefork"]
    argv += [
        "-c",
        str(_PROCESSES),
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "-l",
        "ERROR",
    ]
    with (services.scratch / "celery.log").open("wb") as log:
        async with spawned(argv, env=environment, stdout=log, stderr=log) as process:
            worker = CeleryWorker(services, url)
            await worker.ready()
            yield worker
            process.terminate()
            async with asyncio.timeout(30):
                await process.wait()
