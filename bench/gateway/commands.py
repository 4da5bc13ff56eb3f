"""A command in a VM: over HTTP with an API key, and straight to the guest."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2

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

_SETTLED_S = 0.1


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
        http = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=listener.url, headers={"authorization": f"Bearer {key.secret}"})
        )
        row = await platform.vms.get(vm.id)
        async with platform.host.connections.session(row) as guest:
            ways: tuple[Callable[[], Awaitable[object]], ...] = (
                lambda: guest.run(new_id(EXECUTION), TRUE),
                lambda: _plain(http, vm.id),
                lambda: client.executions.run(vm.id, TRUE),
            )
            rounds = [[await _timed(way()) for way in ways] for _ in range(repeat)]
        await platform.vms.delete(vm.id)
    direct, plain, sdk = (Samples(tuple(each)) for each in zip(*rounds, strict=True))
    yield Measurement("exec of /bin/true over REST", plain, direct, "through the driver")
    yield Measurement("what REST adds to it", Samples((plain.median - direct.median,)), limit=0.005)
    yield Measurement("the same by the SDK, which may repeat it", sdk, direct, "through the driver")


async def _plain(http: httpx2.AsyncClient, vm_id: str) -> None:
    answer = await http.post(f"/v1/vms/{vm_id}/executions", json={"argv": list(TRUE.argv)})
    assert answer.json()["execution"]["result"]["exit_code"] == 0, answer.text


async def _timed(work: Awaitable[object]) -> float:
    # What the guest does behind the last command, none of the next one shall wait for.
    await asyncio.sleep(_SETTLED_S)
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin
