"""A gateway over real services and the fake driver, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aetherium.bootstrap import Platform
from aetherium.client.aio import AsyncClient
from aetherium.domain.vms import VM, VMSpec
from aetherium.gateway.server import serve_platform
from tests.fixtures.platform import data_dir, fake_platform

__all__ = ["data_dir"]


@dataclass(frozen=True, slots=True)
class Gateway:
    """What listens, and what it stands on."""

    platform: Platform
    socket: Path


@pytest.fixture
async def gateway(data_dir: Path) -> AsyncIterator[Gateway]:
    async with fake_platform(data_dir, background=False, forkable=True) as platform:
        socket = data_dir / "run" / "s"
        async with serve_platform(platform, socket, grace_s=1.0):
            yield Gateway(platform, socket)


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[AsyncClient]:
    async with AsyncClient.unix(gateway.socket) as client:
        yield client


@pytest.fixture
async def vm(client: AsyncClient) -> AsyncIterator[VM]:
    vm = await client.vms.create(VMSpec(name="box"))
    yield vm
    await client.vms.delete(vm.id)
