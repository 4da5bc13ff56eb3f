"""A whole cluster as processes of this host: gateways, orchestrators, workers, over the fake driver."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aetherium.images.store import DiskImageStore
from tests.faults.cluster.members import Member
from tests.faults.cluster.rows import Rows
from tests.fixtures.leftovers import end_all
from tests.fixtures.platform import share_images, tiny_images
from tests.fixtures.ports import HOST, free_port
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.proxy import TcpProxy
from tests.fixtures.redis import RedisServer
from tests.fixtures.waiting import eventually

# Short, so that a lost worker is noticed within a test, and a killed gateway by those who ask again; the
# default for workers has a test of its own.
QUICK = {"lease_s": "3", "ticket_s": "1", "reconcile_interval_s": "1", "request_lease_s": "5"}
TASKS, VCPUS = 12, 4


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a test may disturb.

    Attributes:
        root: everything that its processes write lies below it.
        rows: the database, by a connection that no fault is on.
    """

    root: Path
    postgres: PostgresServer
    redis: RedisServer
    rows: Rows
    gateways: tuple[Member, ...]
    orchestrators: tuple[Member, ...]
    workers: tuple[Member, ...]

    @property
    def members(self) -> tuple[Member, ...]:
        """All processes."""
        return (*self.gateways, *self.orchestrators, *self.workers)

    def complaints(self) -> str:
        """What its processes have logged as errors, each with the end of its log."""
        return "\n".join(f"{member.name}:\n{member.complaints()}" for member in self.members)

    async def leader(self) -> Member:
        """The orchestrator that leads."""
        found: list[Member] = []

        async def known() -> bool:
            holder = await self.rows.leader()
            found[:] = [each for each in self.orchestrators if each.alive and each.identity == holder]
            return bool(found)

        await eventually(known, within_s=20)
        return found[0]


@asynccontextmanager
async def open_cluster(
    postgres: PostgresServer,
    redis: RedisServer,
    database_url: str,
    *,
    gateways: int = 2,
    orchestrators: int = 2,
    workers: int = 3,
    images: DiskImageStore | None = None,
    settings: Mapping[str, str] = QUICK,
) -> AsyncIterator[Cluster]:
    """A cluster that is ready. At the end nothing of it is left.

    Args:
        images: for workers on QEMU; None: tiny ones, for the fake driver.
        settings: of all processes, beside those that a cluster needs.
    """
    root = Path(tempfile.mkdtemp(prefix="aetc-"))
    common = {
        "drivers": '["fake"]' if images is None else '["qemu"]',
        "objects_url": f"file://{root}/objects",
        "cluster_token": secrets.token_hex(16),
        "master_key": secrets.token_hex(32),
        "pool": "[]",
        "worker_tasks": str(TASKS),
        "worker_vcpus": str(VCPUS),
        **settings,
    }
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_remove, root)
        proxied = _Proxied(stack, postgres, redis, database_url, common, root)
        cluster = Cluster(
            root,
            postgres,
            redis,
            await stack.enter_async_context(Rows(database_url)),
            await proxied.members("gateway", "gateway", count=gateways),
            await proxied.members("orchestrator", "orchestrator", count=orchestrators),
            await proxied.members("worker", "worker", "run", count=workers),
        )
        for member in cluster.members:
            stack.push_async_callback(member.kill)
        for worker in cluster.workers:
            await _give_images(worker.data_dir, images)
        await _start(cluster.members)
        yield cluster


@dataclass(frozen=True, slots=True)
class _Proxied:
    """Makes members, with a proxy in front of each thing that they reach, and of each worker."""

    stack: AsyncExitStack
    postgres: PostgresServer
    redis: RedisServer
    database_url: str
    settings: Mapping[str, str]
    root: Path

    async def members(self, name: str, *words: str, count: int) -> tuple[Member, ...]:
        return tuple([await self._member(f"{name}{number + 1}", *words) for number in range(count)])

    async def _member(self, name: str, *words: str) -> Member:
        database = await self.stack.enter_async_context(TcpProxy(self.postgres.address))
        redis = await self.stack.enter_async_context(TcpProxy(self.redis.address))
        calls = await self.stack.enter_async_context(TcpProxy((HOST, free_port())))
        addresses = {
            "database_url": database.in_front_of(self.database_url),
            "redis_url": redis.in_front_of(self.redis.url),
            "worker_listen": _text(calls.target),
            "worker_advertise": _text(calls.address),
        }
        return Member(
            *words,
            data_dir=self.root / name,
            settings={**self.settings, **addresses},
            database=database,
            redis=redis,
            calls=calls,
        )


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"{host}:{port}"


async def _give_images(data_dir: Path, images: DiskImageStore | None) -> None:
    if images is None:
        await tiny_images(data_dir / "images")
    else:
        await asyncio.to_thread(share_images, images, data_dir)


async def _start(members: Iterable[Member]) -> None:
    async with asyncio.TaskGroup() as group:
        for member in members:
            group.create_task(member.start())


async def _remove(root: Path) -> None:
    await asyncio.to_thread(end_all, root)
    await asyncio.to_thread(shutil.rmtree, root)
