"""Under load, each part of a cluster fails several times: what was accepted ends once, and nothing is left.

AETHERIUM_TEST_SEED repeats a run; AETHERIUM_TEST_REPORT=1 writes the table of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import os
import random
import time

import pytest

from tests.faults.cluster.checks import check_capacity, check_hosts, check_tasks
from tests.faults.cluster.cluster import Cluster
from tests.faults.cluster.faults import FAULTS, Fault
from tests.faults.cluster.load import SPAN_S, Load
from tests.fixtures.waiting import eventually

SEED = int(os.environ.get("AETHERIUM_TEST_SEED") or random.randrange(1 << 32))
BLOWS = 3
# From the last blow to the last task's end.
RECOVER_S = 60.0


async def strike(cluster: Cluster, fault: Fault, chance: random.Random) -> None:
    """Several times within the time of the load, one after the other."""
    begin = time.monotonic()
    for moment in sorted(chance.uniform(0.5, SPAN_S) for _ in range(BLOWS)):
        await asyncio.sleep(max(0.0, begin + moment - time.monotonic()))
        await fault(cluster, chance)


async def all_ended(cluster: Cluster) -> None:
    """Wait for it."""

    async def over() -> bool:
        return not await cluster.rows.open()

    await eventually(over, within_s=RECOVER_S)


@pytest.mark.parametrize("name", FAULTS)
async def test_fault(cluster: Cluster, name: str) -> None:
    print(f"AETHERIUM_TEST_SEED={SEED}")
    chance = random.Random(f"{SEED} {name}")
    since = await cluster.rows.newest()
    load = Load(
        [each.data_dir / "run" / "aetherium.sock" for each in cluster.gateways],
        cluster.root / "work",
        random.Random(chance.random()),
    )
    async with asyncio.timeout(SPAN_S + 2 * RECOVER_S), asyncio.TaskGroup() as group:
        group.create_task(load.run())
        await strike(cluster, FAULTS[name], chance)
        struck = time.monotonic()
    await all_ended(cluster)
    recovered_s = time.monotonic() - struck
    tasks = await cluster.rows.tasks(since)
    check_tasks(tasks, load)
    check_capacity(tasks)
    await check_hosts(cluster)
    lost = sum(each.error_code == "worker_lost" for task in tasks for each in task.attempts)
    print(f"{name}: {len(tasks)} tasks, {lost} attempts lost, {recovered_s:.1f} s to recover")
