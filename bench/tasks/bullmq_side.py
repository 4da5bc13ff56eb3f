"""BullMQ for Python by itself: no database, nothing but Redis. A worker as a process, and who submits.

Run as a program (with the URL of a Redis) it is that worker.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from bullmq import Queue, Worker  # type: ignore[import-untyped]
from tests.fixtures.waiting import eventually

from aetherium.process import spawned
from bench.tasks.services import Services

_NAME = "noop"
_CONCURRENCY = 256
_AT_ONCE = 100
_END_S = 600.0
# When a job began, for whoever added it with the moment of that.
_LATENCIES = "bench:latencies"


class BullMQ:
    """A queue whose worker runs."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def burst(self, count: int) -> float:
        """Add so many jobs, a hundred at once, and wait for the last; jobs per second."""
        begin = time.time()
        for _ in range(count // _AT_ONCE):
            await self._queue.addBulk([_job({}) for _ in range(_AT_ONCE)])
        await eventually(self._idle, within_s=_END_S)
        return count / (time.time() - begin)

    async def latency(self, gaps: list[float]) -> list[float]:
        """Add a job after each gap; the seconds until each began."""
        for gap in gaps:
            await asyncio.sleep(gap)
            await self._queue.addBulk([_job({"at": time.time()})])
        await eventually(self._idle, within_s=_END_S)
        return [float(value) for value in await self._queue.client.lrange(_LATENCIES, 0, -1)]

    async def _idle(self) -> bool:
        return not any((await self._queue.getJobCounts("wait", "active", "prioritized", "delayed")).values())


def _job(data: dict[str, float]) -> dict[str, Any]:
    return {"name": _NAME, "data": data, "opts": {"removeOnComplete": True}}


def _connection(url: str) -> dict[str, Any]:
    at = sa.make_url(url)
    # Longer than BullMQ's blocking pop, or a wake-up takes seconds.
    return {
        "host": at.host,
        "port": at.port,
        "password": at.password,
        "db": at.database,
        "socket_timeout": 30,
    }


@asynccontextmanager
async def bullmq(services: Services) -> AsyncIterator[BullMQ]:
    """With an empty Redis."""
    await services.redis.flush()
    queue = Queue(_NAME, {"connection": _connection(services.redis.url)})
    argv = [sys.executable, "-m", "bench.tasks.bullmq_side", services.redis.url]
    try:
        async with spawned(argv, stdout=asyncio.subprocess.PIPE) as process:
            assert process.stdout is not None
            await process.stdout.readline()
            yield BullMQ(queue)
    finally:
        await queue.close()


async def _work(url: str) -> None:
    async def process(job: Any, _token: str) -> None:
        if "at" in job.data:
            await worker.client.rpush(_LATENCIES, time.time() - job.data["at"])

    worker = Worker(
        _NAME, process, {"connection": _connection(url), "concurrency": _CONCURRENCY, "autorun": False}
    )
    running = asyncio.ensure_future(worker.run())
    print("ready", flush=True)
    await running


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1]))
