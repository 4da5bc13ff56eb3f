"""A command in a VM: over HTTP with an API key, and straight to the guest."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from aetherium.bootstrap import open_platform
from aetherium.client import AsyncClient
from aetherium.domain.identity import Role
from aetherium.domain.ids import EXECUTION, new_id
from aetherium.domain.vms import VMSpec
from aetherium.gateway import tcp
from aetherium.gateway.server import serve_platform
from aetherium.settings import Settings
from bench.machine import SIZE, TRUE, Machine, data_dir
from bench.report import Measurement, Samples


async def commands(machine: Machine, repeat: int) -> AsyncIterator[Measurement]:
    """One process serves and asks: what HTTP costs on both sides counts as ours."""
    repeat *= 30
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aetherium-bench-")))
        shutil.copytree(data_dir() / "images", scratch / "images", symlinks=True)
        settings = Settings(data_dir=scratch, pool=(), rate_limit_key="100000000/minute")
        platform = await stack.enter_async_context(open_platform(settings, background=True))
        listener = stack.enter_context(tcp.listening(settings, "127.0.0.1:0"))
        assert listener is not None
        socket = scratch / "run" / "s"
        await stack.enter_async_context(serve_platform(platform, socket, grace_s=1.0, tcp=listener))
        key = await platform.keys.create("bench", project_id=None, role=Role.ADMIN, by="bench")
        client = await stack.enter_async_context(AsyncClient.http(listener.url, api_key=key.secret))
        vm = await client.vms.create(VMSpec(resources=SIZE))
        row = await platform.vms.get(vm.id)
        rest, direct = [], []
        async with platform.host.connections.session(row) as guest:
            for _ in range(repeat):
                begin = time.perf_counter()
                await client.executions.run(vm.id, TRUE)
                middle = time.perf_counter()
                await guest.run(new_id(EXECUTION), TRUE)
                rest.append(middle - begin)
                direct.append(time.perf_counter() - middle)
        await platform.vms.delete(vm.id)
    over, through = Samples(tuple(rest)), Samples(tuple(direct))
    yield Measurement("exec of /bin/true over REST", over, through, "through the driver")
    yield Measurement("what REST adds to it", Samples((over.median - through.median,)), limit=0.005)
