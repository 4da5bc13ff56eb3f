"""A worker behind a real gRPC server, a network that can fail, and a gateway's services over it.

``cluster``     (per test) a Cluster; its worker holds the VM `cluster.vm`
``start_again`` on a Cluster: the worker's process is replaced by another one at the same address
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from aetherium.bootstrap import Platform
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.ids import WORKER, new_id
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.vms import VM, VMSpec
from aetherium.gateway.remote.channels import Channels
from aetherium.gateway.remote.platform import RemotePlatform, remote_platform
from aetherium.interfaces.store import Store
from aetherium.services.job_files import LocalJobFiles
from aetherium.services.vms import Progress, silent
from aetherium.worker.grpc.server import serve_worker
from tests.fixtures.platform import data_dir, fake_platform
from tests.fixtures.ports import HOST, free_port
from tests.fixtures.proxy import TcpProxy
from tests.fixtures.secrets import uses

__all__ = ["data_dir"]

TOKEN = "a-token-that-is-long-enough-for-all"  # noqa: S105  # of these tests
WORKER_ID = new_id(WORKER)
PATIENCE_S = 10.0

MakePlatform = Callable[[Path], AbstractAsyncContextManager[Platform]]


class _Stamped:
    """Rows of one worker, seen from outside: a platform of its own does not say whose they are."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    async def get(self, ref: str) -> Any:
        return replace(await self._rows.get(ref), worker_id=WORKER_ID)

    async def find(self, ref: str) -> Any:
        return replace(await self._rows.find(ref), worker_id=WORKER_ID)

    async def list(self, **which: Any) -> Sequence[Any]:
        return [replace(row, worker_id=WORKER_ID) for row in await self._rows.list(**which)]


@dataclass
class Cluster:
    """One worker, and a gateway that reaches it through a proxy."""

    data_dir: Path
    port: int
    proxy: TcpProxy
    platform: MakePlatform
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    worker: Platform = field(init=False)
    remote: RemotePlatform = field(init=False)
    vm: VM = field(init=False)

    @property
    def address(self) -> str:
        """Where the gateway reaches the worker."""
        return "{}:{}".format(*self.proxy.address)

    async def start(self) -> None:
        """Bring the worker up."""
        self.worker = await self.stack.enter_async_context(self.platform(self.data_dir))
        files = LocalJobFiles(self.data_dir / "jobs")
        await self.stack.enter_async_context(serve_worker(self.worker, files, f"{HOST}:{self.port}", TOKEN))

    async def stop(self) -> None:
        """End the worker; its VMs go on."""
        await self.stack.aclose()

    async def start_again(self) -> None:
        """Another process takes the worker's place."""
        await self.stop()
        await self.start()

    def connect(self, channels: Channels, **more: Any) -> RemotePlatform:
        """A gateway's services over other channels."""

        async def address_of(worker_id: str) -> str:
            assert worker_id == WORKER_ID
            return self.address

        return remote_platform(
            cast(Store, _Rows(self)),
            channels,
            address_of,
            self._create,
            uses(self.worker.host.store),
            **{"patience_s": PATIENCE_S, **more},
        )

    @asynccontextmanager
    async def gateway(self, **more: Any) -> AsyncIterator[RemotePlatform]:
        """Another gateway, with connections of its own."""
        async with Channels(TOKEN) as channels:
            yield self.connect(channels, **more)

    async def _create(
        self,
        spec: VMSpec,
        *,
        snapshot: str | None = None,
        project: str = DEFAULT_PROJECT,
        progress: Progress = silent,
    ) -> VM:
        return await self.worker.vms.create(spec, snapshot=snapshot, project=project, progress=progress)


class _Rows:
    """The store of whichever process is the worker now."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @property
    def vms(self) -> _Stamped:
        return _Stamped(self._cluster.worker.host.store.vms)

    @property
    def snapshots(self) -> _Stamped:
        return _Stamped(self._cluster.worker.host.store.snapshots)

    @property
    def executions(self) -> Any:
        return self._cluster.worker.host.store.executions


MakeCluster = Callable[[MakePlatform], Awaitable[Cluster]]


@asynccontextmanager
async def _cluster(data_dir: Path, platform: MakePlatform) -> AsyncIterator[Cluster]:
    port = free_port()
    async with TcpProxy((HOST, port)) as proxy, Channels(TOKEN) as channels:
        cluster = Cluster(data_dir, port, proxy, platform)
        await cluster.start()
        try:
            cluster.remote = cluster.connect(channels)
            cluster.vm = await cluster.remote.vms.create(VMSpec(name="box"))
            yield cluster
        finally:
            await proxy.heal()
            await cluster.stop()


@pytest.fixture
async def make_cluster(data_dir: Path) -> AsyncIterator[MakeCluster]:
    """For a worker on another platform."""
    async with AsyncExitStack() as stack:

        async def make(platform: MakePlatform) -> Cluster:
            return await stack.enter_async_context(_cluster(data_dir, platform))

        yield make


@pytest.fixture
async def cluster(make_cluster: MakeCluster) -> Cluster:
    return await make_cluster(lambda path: fake_platform(path, background=False, forkable=True))


def sh(script: str, **more: Any) -> ExecutionSpec:
    """A command for the shell."""
    return ExecutionSpec(("/bin/sh", "-c", script), **more)
