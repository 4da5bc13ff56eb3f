"""A microVM behind gRPC: a command, a file and a terminal."""

from __future__ import annotations

import asyncio
import os

import pytest

from aetherium.domain.executions import ExecutionSpec, TerminalSize
from aetherium.images.store import DiskImageStore
from tests.fixtures.images import base_image_store
from tests.fixtures.platform import qemu_platform
from tests.integration.rpc.conftest import MakeCluster, sh

__all__ = ["base_image_store"]

pytestmark = pytest.mark.vm

_DEADLINE_S = 60


async def test_a_microvm_is_used_from_afar(
    make_cluster: MakeCluster, base_image_store: DiskImageStore
) -> None:
    cluster = await make_cluster(lambda path: qemu_platform(path, base_image_store))
    remote, data = cluster.remote, os.urandom(3 << 20)
    async with asyncio.timeout(_DEADLINE_S):
        async with remote.vms.guest("box") as guest:
            await guest.write("/tmp/file", data)
            assert b"".join([piece async for piece in guest.read("/tmp/file")]) == data
        execution, out, _ = await remote.executions.run("box", sh("hostname; exec wc -c /tmp/file"))
        assert execution.result is not None
        assert execution.result.ok
        assert out == b"box\n%d /tmp/file\n" % len(data)
        spec = ExecutionSpec(("/bin/sh",), terminal=TerminalSize(10, 20), stdin=True)
        async with remote.executions.launch("box", spec) as (shell, terminal):
            await remote.executions.resize(shell.id, TerminalSize(30, 90))
            cluster.proxy.cut()
            await terminal.write_stdin(b"stty size; exit 7\n")
            seen = b"".join([chunk.data async for chunk in terminal])
            assert b"30 90" in seen
            assert (await terminal.result()).exit_code == 7
        assert (await remote.vms.metrics("box")).guest is not None
        await remote.vms.delete("box")
