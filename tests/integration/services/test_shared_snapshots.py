"""Snapshots of a cluster: they outlive their worker, and go where they can be restored.

Two workers, an orchestrator and a gateway's services in this process, over PostgreSQL, Redis and S3.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from aetherium.bootstrap import Parts, Platform
from aetherium.bootstrap.cluster import ClusterPlatform, open_cluster_platform, open_orchestrator, open_worker
from aetherium.bootstrap.working import worker_id
from aetherium.channel.connector import Connector
from aetherium.domain.errors import Unavailable, VMFailed
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.ids import SNAPSHOT, new_id
from aetherium.domain.snapshots import Snapshot, SnapshotState
from aetherium.domain.vms import VM, Resources, VMSpec
from aetherium.drivers.fake import FakeDriver
from aetherium.gateway.remote.channels import Channels
from aetherium.images.builder import DiskImageBuilder
from aetherium.interfaces.clock import SystemClock
from aetherium.interfaces.objects import ObjectStore
from aetherium.objects.opening import open_objects
from aetherium.rpc.authority import Kind
from aetherium.services.cluster_vms import TaskFailed
from aetherium.services.snapshot_files import key_of, sweep_snapshots
from aetherium.settings import Settings
from tests.fixtures.certificates import Authority, authority
from tests.fixtures.platform import ForkableDriver, data_dir, fake_platform, tiny_images
from tests.fixtures.ports import HOST
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.redis import RedisServer
from tests.fixtures.s3 import SECRET, Bucket, s3_bucket, s3_endpoint
from tests.fixtures.waiting import eventually

__all__ = ["authority", "data_dir", "s3_bucket", "s3_endpoint"]

SMALL = VMSpec(name="box", resources=Resources(1, 128, 16))
MACHINE = "QEMU 9.9, tcg, Some Processor"


@dataclass
class Host:
    """A worker, and what ends it."""

    platform: Platform
    data_dir: Path
    running: AsyncExitStack

    @property
    def id(self) -> str:
        """As workers are known."""
        return worker_id(self.data_dir)

    async def stop(self) -> None:
        """End it in good order; its files stay."""
        await self.running.aclose()

    def left(self) -> list[str]:
        """What lies here of snapshots and of restores."""
        return sorted(
            str(path.relative_to(self.data_dir))
            for name in ("snapshots", "forks")
            for path in (self.data_dir / name).glob("*")
        )


@dataclass
class SmallCluster:
    """A gateway's services, and what makes workers."""

    settings: Settings
    objects: ObjectStore
    gateway: ClusterPlatform
    stack: AsyncExitStack

    async def worker(self, machine: str = MACHINE, **settings: Any) -> Host:
        """Another worker, on such a machine."""
        place = self.settings.data_dir / f"worker-{secrets.token_hex(2)}"
        images = await tiny_images(place / "images")
        adapters = Parts(
            drivers=[ForkableDriver(FakeDriver(place / "fake"), machine)],
            images=images,
            builder=DiskImageBuilder(images),
            connector=Connector(),
            clock=SystemClock(),
        )
        changed = {"data_dir": place, "worker_name": place.name, **settings}
        running = await self.stack.enter_async_context(AsyncExitStack())
        opened = open_worker(self.settings.model_copy(update=changed), adapters)
        return Host(await running.enter_async_context(opened), place, running)

    async def snapshot(self, host: Host) -> Snapshot:
        """Of a VM on that worker, which is gone afterwards."""
        vm = await host.platform.vms.create(SMALL)
        made = await self.gateway.snapshots.create(vm.id, name="kept")
        await self.gateway.vms.delete(vm.id)
        return made

    async def restored(self, snapshot: Snapshot) -> VM:
        """A VM from it, that works."""
        vm = await self.gateway.vms.create(replace(SMALL, name=None), snapshot=snapshot.id)
        _, out, _ = await self.gateway.executions.run(vm.id, ExecutionSpec(("echo", "hi")))
        assert (out, vm.snapshot_id) == (b"hi\n", snapshot.id)
        return vm

    async def keys(self) -> list[str]:
        """The objects of all snapshots."""
        return [info.key for info in await self.objects.list("snapshots")]


@pytest.fixture
async def cluster(
    data_dir: Path,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    postgres_store_url: str,
    s3_bucket: Bucket,
) -> AsyncIterator[SmallCluster]:
    settings = Settings.load(
        data_dir=data_dir / "gateway",
        drivers=("fake",),
        pool=(),
        database_url=postgres_store_url,
        redis_url=redis_server.url,
        objects_url=s3_bucket.url,
        objects_endpoint=s3_bucket.endpoint,
        objects_key_id="key",
        objects_secret=SECRET,
        cluster_token=secrets.token_hex(16),
        master_key=secrets.token_hex(32),
        worker_grace_s=0.0,
        boot_timeout_s=20.0,
    )
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(open_cluster_platform(settings))
        orchestrator = await stack.enter_async_context(
            open_orchestrator(settings.model_copy(update={"data_dir": data_dir / "orchestrator"}))
        )
        leading = asyncio.ensure_future(orchestrator.run())
        stack.callback(leading.cancel)
        objects = open_objects(s3_bucket.url, s3_bucket.access)
        settings = settings.model_copy(update={"data_dir": data_dir})
        yield SmallCluster(settings, objects, gateway, stack)


async def test_a_snapshot_outlives_its_worker(cluster: SmallCluster) -> None:
    first, second = await cluster.worker(), await cluster.worker()
    made = await cluster.snapshot(first)
    assert (made.machine, made.worker_id) == (MACHINE, first.id)
    assert await cluster.keys() == [key_of(made.id)]
    await first.stop()
    vm = await cluster.restored(made)
    assert vm.worker_id == second.id
    assert second.left() == []
    await cluster.gateway.vms.delete(vm.id)
    await cluster.gateway.snapshots.delete("kept")
    assert await cluster.keys() == []
    assert await cluster.gateway.snapshots.list() == []


async def test_the_worker_that_has_it_is_preferred(cluster: SmallCluster) -> None:
    hosts = [await cluster.worker() for _ in range(3)]
    made = await cluster.snapshot(hosts[1])
    await cluster.objects.remove(key_of(made.id))  # it is not needed
    assert [(await cluster.restored(made)).worker_id for _ in range(3)] == [hosts[1].id] * 3
    await cluster.gateway.snapshots.delete(made.id)
    assert hosts[1].left() == []


async def test_another_machine_does_not_fit(cluster: SmallCluster) -> None:
    first, _ = await cluster.worker(), await cluster.worker("QEMU 9.9, tcg, Another Processor")
    made = await cluster.snapshot(first)
    await first.stop()
    said: list[str] = []
    waiting = asyncio.ensure_future(cluster.gateway.vms.create(SMALL, snapshot="kept", progress=said.append))

    async def explained() -> bool:
        return any("Another Processor" in text and MACHINE in text for text in said)

    try:
        await eventually(explained)
        assert not waiting.done()
        third = await cluster.worker()  # one that fits brings it back
        vm = await waiting
    finally:
        waiting.cancel()
    assert (vm.worker_id, vm.snapshot_id) == (third.id, made.id)


async def test_what_came_damaged_is_not_started(cluster: SmallCluster) -> None:
    first, second = await cluster.worker(), await cluster.worker()
    made = await cluster.snapshot(first)
    data = b"".join([piece async for piece in cluster.objects.get(key_of(made.id))])
    await cluster.objects.put(key_of(made.id), data.replace(b"nothing", b"notting"))
    await first.stop()
    with pytest.raises(TaskFailed, match="came damaged") as raised:
        await cluster.restored(made)
    assert raised.value.code == VMFailed.code
    await cluster.objects.remove(key_of(made.id))
    with pytest.raises(TaskFailed, match="neither here nor in the object store"):
        await cluster.restored(made)
    assert second.left() == []
    assert await cluster.gateway.vms.list() == []


async def test_a_snapshot_that_cannot_be_brought_away_is_none(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = await cluster.worker()

    async def fails(*_: object) -> int:
        raise Unavailable("The object store is down.")

    vm = await host.platform.vms.create(SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(type(cluster.objects), "put", fails)
        with pytest.raises(Unavailable, match="down"):
            await cluster.gateway.snapshots.create(vm.id)
    assert await cluster.gateway.snapshots.list() == []
    assert (host.left(), await cluster.keys()) == ([], [])
    assert list(await host.platform.host.images.holders(vm.image_digest)) == [vm.id]


async def test_what_a_killed_worker_has_left_goes(cluster: SmallCluster) -> None:
    """One was written and not recorded; of another not even the row is there any more."""
    host = await cluster.worker()
    made = await cluster.snapshot(host)
    dead = replace(made, id=new_id(SNAPSHOT), name=None, state=SnapshotState.CREATING, owner="own_gone")
    await host.platform.host.store.snapshots.add(dead)
    for snapshot_id in (dead.id, stray := new_id(SNAPSHOT)):
        await cluster.objects.put(key_of(snapshot_id), b"something")
    assert await sweep_snapshots(cluster.gateway.store, cluster.objects) == 1
    assert key_of(stray) not in await cluster.keys()
    await host.platform.reconciler.reconcile()
    assert await cluster.keys() == [key_of(made.id)]
    assert [each.id for each in await cluster.gateway.snapshots.list()] == [made.id]


async def test_an_object_that_cannot_be_removed_now_is_swept(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await cluster.snapshot(await cluster.worker())

    async def fails(*_: object) -> None:
        raise Unavailable("The object store is down.")

    with monkeypatch.context() as patch:
        patch.setattr(type(cluster.objects), "remove", fails)
        await cluster.gateway.snapshots.delete(made.id)
    assert await cluster.keys() == [key_of(made.id)]
    assert await sweep_snapshots(cluster.gateway.store, cluster.objects) == 1
    assert await cluster.keys() == []


async def test_snapshots_that_do_not_travel_stay_with_their_worker(cluster: SmallCluster) -> None:
    first, _ = await cluster.worker(""), await cluster.worker("")
    made = await cluster.snapshot(first)
    assert (made.machine, await cluster.keys()) == ("", [])
    assert (await cluster.restored(made)).worker_id == first.id
    await first.stop()
    with pytest.raises(Unavailable):
        await cluster.gateway.snapshots.delete(made.id)


async def test_without_a_cluster_they_are_directories(data_dir: Path) -> None:
    driver = ForkableDriver(FakeDriver(data_dir / "fake"), MACHINE)
    async with fake_platform(data_dir, background=False, driver=driver) as platform:
        vm = await platform.vms.create(SMALL)
        made = await platform.snapshots.create(vm.id)
        assert made.machine == ""
        assert (data_dir / "snapshots" / made.id / "memory").exists()
        restored = await platform.vms.create(replace(SMALL, name=None), snapshot=made.id)
        for each in (vm, restored):
            await platform.vms.delete(each.id)
        await platform.snapshots.delete(made.id)
        assert list((data_dir / "snapshots").iterdir()) == []


async def test_over_tls(cluster: SmallCluster, authority: Authority) -> None:
    """A restore by a gateway and a worker that have certificates; one that has none gets nowhere."""

    def shown(name: str, kind: Kind) -> dict[str, Any]:
        authority.identity(name, kind)
        files = {"tls_cert": f"{name}.crt", "tls_key": f"{name}.key", "tls_ca": "ca.crt"}
        return {setting: authority.directory / file for setting, file in files.items()}

    place = {"data_dir": cluster.settings.data_dir / "secure", **shown("gateway", Kind.GATEWAY)}
    secure = replace(
        cluster,
        gateway=await cluster.stack.enter_async_context(
            open_cluster_platform(cluster.settings.model_copy(update=place))
        ),
    )
    listen = f"{HOST}:0"
    first = await secure.worker(worker_listen=listen, **shown("first", Kind.WORKER))
    second = await secure.worker(worker_listen=listen, **shown("second", Kind.WORKER))
    made = await secure.snapshot(first)
    await first.stop()
    assert (await secure.restored(made)).worker_id == second.id
    address = (await secure.gateway.workers.get(second.id)).worker.info.address
    token = cluster.settings.cluster_token
    assert token is not None
    async with Channels(token.get_secret_value()) as channels, channels.use(address) as link:
        assert not await link.ready(0.5)
