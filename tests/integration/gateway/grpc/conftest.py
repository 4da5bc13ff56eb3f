"""The gRPC services over the fake driver, and a real channel to them.

``served``   (per test) the platform and the Unix socket at which it is served
``channel``  a channel to it
``vm``       a VM named ``box``
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from grpc.aio import AioRpcError, Channel, insecure_channel

from aetherium.bootstrap import Platform
from aetherium.domain.errors import AetheriumError
from aetherium.domain.vms import VM, VMSpec
from aetherium.gateway.grpc.callers import Callers
from aetherium.gateway.grpc.server import serve_grpc
from aetherium.protocol.generated import executions_pb2
from aetherium.rpc.errors import rebuild
from tests.fixtures.platform import data_dir, fake_platform

__all__ = ["data_dir"]


@dataclass(frozen=True, slots=True)
class Served:
    """What listens, and what it stands on."""

    platform: Platform
    address: str
    data_dir: Path


@pytest.fixture
async def served(data_dir: Path) -> AsyncIterator[Served]:
    scratch = str(data_dir / "private")
    async with (
        fake_platform(data_dir, background=True, forkable=True, guest_scratch=scratch) as platform,
        serve_grpc(Callers(platform), f"unix:{data_dir}/g") as address,
    ):
        yield Served(platform, address, data_dir)


@pytest.fixture
async def channel(served: Served) -> AsyncIterator[Channel]:
    async with insecure_channel(served.address) as channel:
        yield channel


@pytest.fixture
async def vm(served: Served) -> AsyncIterator[VM]:
    vm = await served.platform.vms.create(VMSpec(name="box"))
    yield vm
    await served.platform.vms.delete(vm.id)


def told(error: AioRpcError) -> AetheriumError:
    """The error that a status carries."""
    found = rebuild(error)
    assert isinstance(found, AetheriumError)
    return found


async def bearer(platform: Platform, **whose: Any) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with a new key."""
    key = await platform.keys.create("k", by="test", **whose)
    return (("authorization", f"Bearer {key.secret}"),)


def sh(script: str, **more: Any) -> executions_pb2.ExecutionSpec:
    """A command for the shell."""
    argv = [b"/bin/sh", b"-c", script.encode()]
    return executions_pb2.ExecutionSpec(argv=argv, **more)
