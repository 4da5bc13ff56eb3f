"""What a task costs while many others wait, and how long these make others wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aetherium.domain.ids import PROJECT, new_id
from aetherium.domain.projects import Project
from aetherium.domain.tasks import Priority
from bench.report import Measurement, Samples
from bench.tasks.cluster import Cluster, cluster, noop
from bench.tasks.services import Services
from bench.tasks.throughput import burst

_CROWD = """
    INSERT INTO tasks (id, project_id, type, rank, state, task_group, created_at, updated_at, ready_at,
        parked, blockers, attempt, failures, max_attempts, vcpus, memory_mib, reason, error_code, error, spec)
    SELECT 'task_w' || n, 'crowd', 'system.noop', 3, 'queued', 'crowd', n, n, n,
        0, 0, 0, 0, 3, 0, 0, '', '', '', '{{"type": "system.noop", "priority": "low"}}'
    FROM generate_series({first}, {last}) AS n
"""
_SCANS = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'tasks'"
# Servers tell their statistics with such a delay.
_TOLD_S = 2.0
_SLOTS = 16
_WAITING = 10_000


async def depth(
    services: Services, count: int, repeat: int, depths: tuple[int, ...]
) -> AsyncIterator[Measurement]:
    """The same burst with more and more low-priority tasks of another project in a paused queue."""
    async with cluster(services) as where:
        await where.store.queues.pause(Priority.LOW, on=True)
        await burst(where, count, "warm")
        there = 0
        baseline: Samples | None = None
        for wanted in depths:
            await where.sql(_CROWD.format(first=there + 1, last=wanted))
            there = wanted
            await where.sql("VACUUM ANALYZE tasks")
            await where.sql("CHECKPOINT")
            await asyncio.sleep(_TOLD_S)
            scans = await _scans(where)
            rates = [await burst(where, count, f"{wanted}.{turn}") for turn in range(repeat)]
            cost = Samples(tuple(1 / rate for rate in rates))
            name = f"cost of a task while {wanted:,} wait"
            if baseline is None:
                baseline = cost
                yield Measurement(name, cost)
            else:
                yield Measurement(name, cost, baseline, f"{depths[0]} wait", limit=1.2)
        await asyncio.sleep(_TOLD_S)
        whole = Samples((float(await _scans(where) - scans),), "scans")
        yield Measurement(f"reads of the whole table of tasks while {there:,} wait", whole, limit=0)


async def _scans(where: Cluster) -> int:
    return int(str((await where.sql(_SCANS))[0][0]))


async def fairness(services: Services, repeat: int) -> AsyncIterator[Measurement]:
    """A project has thousands of tasks waiting; how many of these go before another project's first one. A
    turn is one task for each slot of the worker."""
    async with cluster(services, worker_tasks=_SLOTS) as where:
        other = Project(new_id(PROJECT), "other", await where.store.now())
        await where.store.projects.add(other)
        turns = []
        for _ in range(repeat):
            await _fill(where)
            first = await where.tasks.submit(noop("other"), project=other.id)
            await where.tasks.wait(first.id)
            turns.append(await _passed(where, first.id) / _SLOTS)
        yield Measurement(
            f"delay by {_WAITING:,} tasks of another project", Samples(tuple(turns), "turns"), limit=2
        )


async def _fill(where: Cluster) -> None:
    """Let as many wait as have to, of tasks that are quick, but take some time."""
    query = "SELECT count(*) FROM tasks WHERE state = 'queued' AND task_group = 'crowd'"
    while (missing := _WAITING - int(str((await where.sql(query))[0][0]))) > 0:
        await where.tasks.submit_many([noop("crowd", sleep_s=0.05)] * min(1000, missing + _SLOTS))


async def _passed(where: Cluster, task_id: str) -> int:
    """How many of the crowd were started while that task waited."""
    query = f"""
        SELECT count(*) FROM tasks AS one JOIN tasks AS crowd
            ON crowd.task_group = 'crowd' AND crowd.started_at BETWEEN one.created_at AND one.started_at
        WHERE one.id = '{task_id}'
    """  # noqa: S608 - an id of ours
    return int(str((await where.sql(query))[0][0]))
