"""Real microVMs: their worker is killed, then one of them. Jobs end well elsewhere, snapshots are restored
there, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from aetherium.client import AsyncClient
from aetherium.domain.errors import Unavailable
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.jobs import JobSpec, JobState, JobStep
from aetherium.domain.vms import VMSpec
from aetherium.images.store import DiskImageStore
from aetherium.objects.local import LocalObjects
from tests.faults.cluster.checks import check_hosts
from tests.faults.cluster.cluster import QUICK, Cluster, open_cluster
from tests.faults.cluster.members import Member
from tests.faults.interrupted import Victim, interrupt_copies
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


# What a VM has in its memory and on its disk, and a process that goes on.
_BEGIN = "echo memory > /dev/shm/note; echo disk > /var/tmp/note"
# Enough memory for the snapshot to be on its way for a while.
_FILL = "head -c 150000000 /dev/zero | tr '\\0' x > /dev/shm/full"
_LOOK = "cat /dev/shm/note /var/tmp/note; cat /proc/[0-9]*/comm | grep -x sleep"


@pytest.mark.vm
@pytest.mark.timeout(600)
async def test_a_snapshot_is_restored_where_its_worker_is_not(
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
        vm = await client.vms.create(VMSpec())
        await client.executions.run(vm.id, ExecutionSpec(("sh", "-c", _BEGIN)))
        await client.executions.start(vm.id, ExecutionSpec(("sleep", "1234")))
        snapshot = await client.snapshots.create(vm.id)
        (first,) = [each for each in cluster.workers if each.identity == vm.worker_id]
        await first.kill()
        restored = await client.vms.create(VMSpec(), snapshot=snapshot.id)
        assert restored.worker_id not in (None, vm.worker_id)
        for where in (restored.id, (await client.vms.fork(restored.id))[0].id):
            _, out, _ = await client.executions.run(where, ExecutionSpec(("sh", "-c", _LOOK)))
            assert out == b"memory\ndisk\nsleep\n"
        await client.snapshots.delete(snapshot.id)  # its worker is still away
        assert not await asyncio.to_thread(_files_below, cluster.root / "objects" / "data" / "snapshots")
        await first.start()
        for each in await client.vms.list():
            await client.vms.delete(each.id)
        await check_hosts(cluster)


def _files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.vm
@pytest.mark.timeout(600)
async def test_a_worker_killed_while_it_brings_a_snapshot_away_leaves_nothing(
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
            workers=1,
            images=base_image_store,
            settings={**QUICK, "warm_snapshots": "0"},
        ) as cluster,
        AsyncClient.unix(cluster.gateways[0].data_dir / "run" / "aetherium.sock", retry=None) as client,
    ):
        (worker,) = cluster.workers
        objects = cluster.root / "objects"
        vm = await client.vms.create(VMSpec())
        await client.executions.run(vm.id, ExecutionSpec(("sh", "-c", _FILL)))
        making = asyncio.ensure_future(client.snapshots.create(vm.id))

        async def half_way() -> bool:
            return bool(await asyncio.to_thread(_files_below, objects / "staging"))

        await eventually(half_way, within_s=_BOOT_S)
        await worker.kill()
        assert not making.done()
        assert await half_way()
        await worker.start()
        with pytest.raises(Unavailable):
            await making

        async def gone() -> bool:
            return not await client.snapshots.list()

        await eventually(gone)
        await LocalObjects(objects).sweep()  # as the orchestrator does now and then
        assert not await asyncio.to_thread(_files_below, objects)
        _, out, _ = await client.executions.run(vm.id, ExecutionSpec(("echo", "hi")))
        assert out == b"hi\n"
        await client.vms.delete(vm.id)
        await check_hosts(cluster)


@pytest.mark.vm
@pytest.mark.timeout(600)
async def test_forks_and_snapshots_outlive_a_gateway(
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    postgres_store_url: str,
    base_image_store: DiskImageStore,
) -> None:
    async with open_cluster(
        postgres_server,
        redis_server,
        postgres_store_url,
        gateways=1,
        orchestrators=1,
        workers=1,
        images=base_image_store,
        settings={**QUICK, "warm_snapshots": "0"},
    ) as cluster:
        (gateway,) = cluster.gateways
        socket = gateway.data_dir / "run" / "aetherium.sock"

        async def again() -> None:
            await gateway.kill()
            await gateway.start()

        await interrupt_copies(Victim(socket, again))
        async with AsyncClient.unix(socket) as client:
            for snapshot in await client.snapshots.list():
                await client.snapshots.delete(snapshot.id)
            for vm in await client.vms.list():
                await client.vms.delete(vm.id)
        await check_hosts(cluster)
