"""Under load, each part of a cluster fails several times: what was accepted ends once, and nothing is left.

AETHERIUM_TEST_SEED repeats a run; AETHERIUM_TEST_REPORT=1 writes the table of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence

import pytest

from aetherium.domain.vms import Resources
from aetherium.images.store import DiskImageStore
from tests.faults.cluster import report
from tests.faults.cluster.checks import check_capacity, check_hosts, check_tasks
from tests.faults.cluster.cluster import QUICK, Cluster, open_cluster
from tests.faults.cluster.faults import FAULTS, QEMU_KILLED, Fault
from tests.faults.cluster.load import SMALL, Load
from tests.faults.cluster.report import Finding
from tests.faults.cluster.rows import TaskRow
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.redis import RedisServer
from tests.fixtures.waiting import eventually

SEED = int(os.environ.get("AETHERIUM_TEST_SEED") or random.randrange(1 << 32))
# From the last blow to the last task's end; with real VMs, which all begin anew at once.
RECOVER_S = 30.0
RECOVER_VMS_S = 120.0
# How attempts of the load end without a fault.
_OWN_ENDS = ("", "meant_to_fail", "cancelled")


@pytest.fixture(scope="module")
def findings() -> Iterator[list[Finding]]:
    found: list[Finding] = []
    yield found
    report.write(found, SEED)


async def strike(cluster: Cluster, fault: Fault, chance: random.Random) -> None:
    """At random moments within the time of the load, one blow after the other."""
    begin = time.monotonic()
    for moment in sorted(chance.uniform(0.5, fault.span_s) for _ in range(fault.blows)):
        await asyncio.sleep(max(0.0, begin + moment - time.monotonic()))
        await fault.blow(cluster, chance)


async def through(
    cluster: Cluster,
    fault: Fault,
    chance: random.Random,
    size: Resources = SMALL,
    recover_s: float = RECOVER_S,
) -> tuple[Load, Sequence[TaskRow], float]:
    """A load while the fault strikes, to its end: with its tasks, and the seconds since the last blow."""
    since = await cluster.rows.newest()
    sockets = [each.data_dir / "run" / "aetherium.sock" for each in cluster.gateways]
    scratch = cluster.root / "work"
    load = Load(sockets, scratch, random.Random(chance.random()), fault.followers, size)
    struck = 0.0

    async def blows() -> None:
        nonlocal struck
        await strike(cluster, fault, chance)
        struck = time.monotonic()

    async def over() -> bool:
        return not await cluster.rows.open()

    async with asyncio.timeout(fault.span_s + 2 * recover_s), asyncio.TaskGroup() as group:
        group.create_task(load.run(fault.span_s))
        group.create_task(blows())
    await eventually(over, within_s=recover_s)
    return load, await cluster.rows.tasks(since), time.monotonic() - struck


@pytest.mark.parametrize("name", FAULTS)
async def test_fault(cluster: Cluster, findings: list[Finding], name: str) -> None:
    print(f"AETHERIUM_TEST_SEED={SEED}")
    fault = FAULTS[name]
    load, tasks, seconds = await through(cluster, fault, random.Random(f"{SEED} {name}"))
    check_tasks(tasks, load)
    check_capacity(tasks)
    await check_hosts(cluster)
    findings.append(Finding(name, fault.blows, len(tasks), _lost(tasks), seconds))
    print(findings[-1])


def _lost(tasks: Sequence[TaskRow]) -> int:
    """Attempts that the fault has ended."""
    return sum(each.error_code not in _OWN_ENDS for task in tasks for each in task.attempts)


@pytest.mark.vm
@pytest.mark.timeout(600)
async def test_qemu_killed(
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    postgres_store_url: str,
    base_image_store: DiskImageStore,
    findings: list[Finding],
) -> None:
    """The VMs of the load are real ones, and so are those of its jobs."""
    print(f"AETHERIUM_TEST_SEED={SEED}")
    async with open_cluster(
        postgres_server, redis_server, postgres_store_url, workers=2, images=base_image_store
    ) as cluster:
        fault, chance = QEMU_KILLED, random.Random(f"{SEED} qemu")
        load, tasks, seconds = await through(cluster, fault, chance, Resources(), RECOVER_VMS_S)
        check_tasks(tasks, load)
        check_capacity(tasks)
        await check_hosts(cluster)
    findings.append(Finding("QEMU killed", fault.blows, len(tasks), _lost(tasks), seconds))
    print(findings[-1])


async def test_a_leader_that_stands_still_places_nothing_twice(
    cluster: Cluster, findings: list[Finding]
) -> None:
    """For twice its lease; then it goes on where it was, and must not believe that it leads."""

    async def blow(cluster: Cluster, chance: random.Random) -> None:
        stopped = await cluster.leader()
        stopped.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(2 * float(QUICK["lease_s"]))
            assert await cluster.leader() is not stopped
        finally:
            stopped.signal(signal.SIGCONT)

    print(f"AETHERIUM_TEST_SEED={SEED}")
    fault = Fault(blow, blows=2, span_s=12.0)
    load, tasks, seconds = await through(cluster, fault, random.Random(SEED))
    check_tasks(tasks, load)
    check_capacity(tasks)
    assert {len(task.attempts) for task in tasks if task.id in load.plain} == {1}
    findings.append(Finding("leading orchestrator stopped", fault.blows, len(tasks), 0, seconds))
