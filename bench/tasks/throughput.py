"""Tasks per second, from the first submission to the last end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from bench.report import Measurement, Samples
from bench.tasks.bullmq_side import bullmq
from bench.tasks.celery_side import celery
from bench.tasks.cluster import Cluster, cluster, noop
from bench.tasks.services import Services

AT_ONCE = 100


async def burst(where: Cluster, count: int, group: str) -> float:
    """Submit so many tasks, a hundred at once, and wait for the last; tasks per second."""
    begin = time.time()
    for _ in range(count // AT_ONCE):
        await where.tasks.submit_many([noop(group)] * AT_ONCE)
    last = max(task.ended_at.timestamp() for task in await where.ended(group, count) if task.ended_at)
    return count / (last - begin)


async def throughput(services: Services, count: int, repeat: int) -> AsyncIterator[Measurement]:
    """Taken in turns, so that a change of the machine's load meets all."""
    ours, bare, celerys = [], [], []
    for turn in range(repeat):
        async with cluster(services) as where:
            ours.append(await burst(where, count, f"burst{turn}"))
        async with bullmq(services) as engine:
            bare.append(await engine.burst(count))
        async with celery(services) as engine:
            celerys.append(await engine.burst(count // 4))
    measured = _rate(ours)
    yield Measurement(
        "no-op tasks, durable, cluster", measured, _rate(bare), "bare BullMQ", limit=0.3, at_least=True
    )
    yield Measurement(
        "no-op tasks, durable, cluster", measured, _rate(celerys), "Celery", limit=2.0, at_least=True
    )


def _rate(values: list[float]) -> Samples:
    return Samples(tuple(values), "tasks/s")
