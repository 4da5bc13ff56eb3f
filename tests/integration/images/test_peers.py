"""Images that workers get from one another, over real gRPC, with the object store for when that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from aetherium.client import AsyncClient
from aetherium.domain.errors import InvalidInput, NotFound
from aetherium.domain.ids import WORKER, new_id
from aetherium.domain.images import Image
from aetherium.domain.tasks import Demand, TaskSpec, TaskState
from aetherium.domain.workers import WorkerInfo
from aetherium.gateway.remote.channels import Channels
from aetherium.gateway.remote.images import RemoteImageParts
from aetherium.gateway.remote.workers import Workers
from aetherium.images.blobs import LocalBlobs
from aetherium.images.peers import Peers
from aetherium.images.shared import SharedImageStore
from aetherium.images.store import DiskImageStore
from aetherium.images.transfer import push
from aetherium.interfaces.clock import SystemClock
from aetherium.interfaces.store import Store
from aetherium.objects.local import LocalObjects
from aetherium.services.job_files import LocalJobFiles
from aetherium.storage.store import open_store
from aetherium.worker.grpc.server import serve_worker
from tests.faults.cluster.cluster import open_cluster
from tests.fixtures.platform import data_dir, fake_platform
from tests.fixtures.ports import HOST, free_port
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.proxy import TcpProxy, Way
from tests.fixtures.redis import RedisServer
from tests.fixtures.waiting import eventually
from tests.unit.images.test_store import add

__all__ = ["data_dir"]

TOKEN = "a-token-that-is-long-enough-for-all"  # noqa: S105  # of these tests
ME = new_id(WORKER)
MIB = 1 << 20
LARGE = "x" * 4 * MIB


class Watched(LocalObjects):
    """Notes the blobs that are read, by how much was there before."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read: list[int] = []

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        if "/blobs/" in key:
            self.read.append(offset)
        return super().get(key, offset=offset, length=length)


@dataclass
class Peer:
    """Another worker: its images, its id, and the network between it and us."""

    images: DiskImageStore
    id: str
    proxy: TcpProxy


@dataclass
class Hosts:
    """This host, which has no image, and workers that have some."""

    data_dir: Path
    store: Store
    channels: Channels
    objects: Watched
    images: DiskImageStore
    stack: AsyncExitStack

    async def peer(self, content: str) -> tuple[Peer, Image]:
        """One that has an image ``base``, which the object store has too."""
        place = self.data_dir / f"peer-{new_id(WORKER)[-6:]}"
        proxy = await self.stack.enter_async_context(TcpProxy((HOST, free_port())))
        platform = await self.stack.enter_async_context(fake_platform(place, background=False))
        images = DiskImageStore(place / "shared")
        image = await add(images, content, "base")
        await push(images, self.objects, "base")
        address = "{}:{}".format(*proxy.target)
        server = serve_worker(
            platform, LocalJobFiles(place / "jobs"), address, TOKEN, image_parts=LocalBlobs(images).open
        )
        await self.stack.enter_async_context(server)
        advertised = "{}:{}".format(*proxy.address)
        info = WorkerInfo(new_id(WORKER), place.name, advertised, images=(image.digest,))
        await self.store.workers.register(info, lease_s=60)
        return Peer(images, info.id, proxy), image

    def shared(self, slow_s: float = 60.0) -> SharedImageStore:
        """This host's images, as a worker has them."""
        peers = Peers(self.store.workers, self.parts().read, ME, slow_s=slow_s)
        return SharedImageStore(self.images, self.objects, peers=peers.find)

    def parts(self) -> RemoteImageParts:
        """What other workers let us read."""

        async def address_of(worker_id: str) -> str:
            return (await self.store.workers.get(worker_id)).info.address

        return RemoteImageParts(Workers(self.channels, address_of, patience_s=0.0, connect_s=2.0))

    async def check(self, image: Image, content: str) -> None:
        """It is here, and what it was."""
        assert (await self.images.paths(image.digest)).rootfs.read_text() == f"rootfs {content}"
        assert list(self.images.layout.incoming.iterdir()) == []


@pytest.fixture
async def hosts(data_dir: Path) -> AsyncIterator[Hosts]:
    async with (
        open_store(data_dir / "cluster.db", SystemClock()) as store,
        Channels(TOKEN) as channels,
        AsyncExitStack() as stack,
    ):
        objects = Watched(data_dir / "objects")
        yield Hosts(data_dir, store, channels, objects, DiskImageStore(data_dir / "images"), stack)


async def test_a_peer_is_asked_and_the_object_store_is_not(hosts: Hosts) -> None:
    _, image = await hosts.peer(LARGE)
    assert (await hosts.shared().get("base")).digest == image.digest
    await hosts.check(image, LARGE)
    assert hosts.objects.read == []


async def test_a_peer_that_is_gone(hosts: Hosts) -> None:
    """Its lease has not run out yet; another one is asked, and then the object store."""
    (dead, image), (other, _) = await hosts.peer(LARGE), await hosts.peer(LARGE)
    dead.proxy.refuse()
    await hosts.shared().get("base")
    await hosts.check(image, LARGE)
    assert hosts.objects.read == []
    await hosts.images.remove("base")
    other.proxy.refuse()
    other.proxy.cut()
    await hosts.shared().get("base")
    await hosts.check(image, LARGE)
    assert hosts.objects.read == [0] * 4


async def test_a_peer_that_lies(hosts: Hosts) -> None:
    peer, image = await hosts.peer(LARGE)
    path = (await peer.images.paths(image.digest)).rootfs
    path.chmod(0o600)
    path.write_text(f"rootfs {LARGE[:-1]}y")
    await hosts.shared().get("base")
    await hosts.check(image, LARGE)
    assert 0 in hosts.objects.read  # nothing of what it said was kept


@asynccontextmanager
async def _once(holds: Callable[[], bool], then: Callable[[], None]) -> AsyncIterator[None]:
    """Meanwhile, do something as soon as something holds."""

    async def held() -> bool:
        return holds()

    async def watch() -> None:
        await eventually(held)
        then()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(watch())
        yield


async def test_a_peer_that_dies_in_the_middle(hosts: Hosts) -> None:
    peer, image = await hosts.peer(LARGE)
    peer.proxy.throttle(8 * MIB)

    def die() -> None:
        peer.proxy.refuse()
        peer.proxy.cut()

    async with _once(lambda: peer.proxy.traffic[Way.TO_CLIENT].bytes > MIB, die):
        await hosts.shared().get("base")
    await hosts.check(image, LARGE)
    assert any(hosts.objects.read)  # it went on where the peer has left off


async def test_a_peer_that_is_slow(hosts: Hosts) -> None:
    peer, image = await hosts.peer(LARGE)
    peer.proxy.throttle(64 * 1024)
    async with asyncio.timeout(30):
        await hosts.shared(slow_s=0.5).get("base")
    await hosts.check(image, LARGE)
    assert hosts.objects.read


async def test_a_peer_that_says_nothing(hosts: Hosts) -> None:
    peer, image = await hosts.peer(LARGE)
    async with _once(lambda: peer.proxy.traffic[Way.TO_CLIENT].bytes > 0, peer.proxy.hold):
        await hosts.shared(slow_s=0.5).get("base")
    await hosts.check(image, LARGE)
    assert hosts.objects.read


async def test_who_is_no_peer(hosts: Hosts) -> None:
    """Itself, one that has stopped, one that has another image."""
    peers = Peers(hosts.store.workers, hosts.parts().read, ME)
    peer, image = await hosts.peer("one")
    assert len(await peers.find(image.digest)) == 1
    assert await peers.find(f"sha256:{'0' * 64}") == []
    assert await Peers(hosts.store.workers, hosts.parts().read, peer.id).find(image.digest) == []
    await hosts.store.workers.stop(peer.id, 1)
    assert await peers.find(image.digest) == []


@pytest.mark.parametrize(
    ("name", "offset", "error"),
    [
        ("blobs/../../tags.json", 0, InvalidInput),
        ("tags/base", 0, InvalidInput),
        ("blobs/" + "0" * 64, 0, NotFound),
        ("blobs/" + "0" * 64, -1, InvalidInput),
    ],
)
async def test_what_a_worker_does_not_give(
    hosts: Hosts, name: str, offset: int, error: type[Exception]
) -> None:
    peer, _ = await hosts.peer("one")
    with pytest.raises(error):
        await anext(hosts.parts().read(peer.id, name, offset))


async def test_workers_of_a_cluster(
    postgres_server: PostgresServer, redis_server: RedisServer, postgres_store_url: str
) -> None:
    """A VM is made where its image is not, with an image whose parts the object store has lost."""
    async with (
        open_cluster(
            postgres_server, redis_server, postgres_store_url, gateways=1, orchestrators=1, workers=2
        ) as cluster,
        AsyncClient.unix(cluster.gateways[0].data_dir / "run" / "aetherium.sock") as client,
    ):
        first, second = cluster.workers
        images = DiskImageStore(first.data_dir / "images")
        image = await add(images, "rare", "rare")
        objects = LocalObjects(cluster.root / "objects")
        await push(images, objects, "rare")
        await objects.remove_all("images/blobs")

        async def known() -> bool:
            return any(image.digest in worker.worker.info.images for worker in await client.workers.list())

        await eventually(known)
        spec = {"image": "rare", "resources": {"vcpus": 1, "memory_mib": 128, "disk_mib": 16}}
        demand = Demand(worker_id=second.identity)
        task = await client.tasks.submit(TaskSpec("vm.create", {"spec": spec}, demand=demand))
        ended = await client.tasks.wait(task.id, timeout_s=30)
        assert ended.state is TaskState.SUCCEEDED, ended
        paths = await DiskImageStore(second.data_dir / "images").paths(image.digest)
        assert paths.rootfs.read_text() == "rootfs rare"
