"""Real microVMs: their worker is killed, then one of them; jobs end well elsewhere, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from aetherium.client import AsyncClient
from aetherium.domain.jobs import JobSpec, JobState, JobStep
from aetherium.images.store import DiskImageStore
from tests.faults.cluster.checks import check_hosts
from tests.faults.cluster.cluster import QUICK, Cluster, open_cluster
from tests.faults.cluster.members import Member
from tests.fixtures.leftovers import working_in
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.redis import RedisServer
from tests.fixtures.waiting import eventually

# A VM without KVM boots in seconds, and in many when others work on the machine.
_BOOT_S = 120.0
_JOB = JobSpec((JobStep("work", run="sleep 4; echo done"),), patch=False, attempts=10)


async def _runs_on(cluster: Cluster, job_id: str, but: str = "") -> Member:
    """The worker on which a job's VM runs, another one than `but`."""
    found: list[str] = []

    async def begun() -> bool:
        query = (
            "SELECT jobs.worker_id FROM jobs JOIN vms ON vms.id = jobs.vm_id"
            " WHERE jobs.id = :job AND jobs.state = 'running' AND vms.state = 'running'"
        )
        found[:] = [row[0] for row in await cluster.rows.read(query, job=job_id) if row[0] != but]
        return bool(found)

    await eventually(begun, within_s=_BOOT_S)
    (worker,) = [each for each in cluster.workers if each.identity == found[0]]
    return worker


@pytest.mark.vm
@pytest.mark.timeout(600)
async def test_jobs_outlive_workers_and_vms(
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    postgres_store_url: str,
    base_image_store: DiskImageStore,
) -> None:
    async with (
        open_cluster(
            postgres_server,
            redis_server,
            postgres_store_url,
            gateways=1,
            orchestrators=1,
            workers=2,
            images=base_image_store,
            settings={**QUICK, "warm_snapshots": "0"},
        ) as cluster,
        AsyncClient.unix(cluster.gateways[0].data_dir / "run" / "aetherium.sock") as client,
    ):
        job = await client.jobs.submit(_JOB)
        first = await _runs_on(cluster, job.id)
        await first.kill()
        second = await _runs_on(cluster, job.id, but=first.identity)
        vms = await asyncio.to_thread(working_in, second.data_dir / "vms")
        os.kill(next(pid for pid, line in vms.items() if "qemu" in line), signal.SIGKILL)
        ended = await client.jobs.wait(job.id)
        assert (ended.state, ended.worker_id) == (JobState.SUCCEEDED, second.identity)
        assert ended.task_id is not None
        errors = [each.error_code for each in await client.tasks.attempts(ended.task_id)]
        assert errors[0] == "worker_lost"
        assert (len(errors), errors[-1]) == (3, "")
        await first.start()
        await check_hosts(cluster)
