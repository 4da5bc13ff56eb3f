"""A command in a VM: over HTTP with an API key, and straight to the guest."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from aetherium.bootstrap import open_platform
from aetherium.client import AsyncClient
from aetherium.domain.ids import EXECUTION, new_id
from aetherium.domain.vms import VMSpec
from aetherium.settings import Settings
from bench.gateway.load import Ask, connected, written
from bench.gateway.server import up
from bench.machine import SIZE, TRUE, Machine, data_dir
from bench.report import Measurement, Samples

_SETTLED_S = 0.1


async def commands(machine: Machine, repeat: int) -> AsyncIterator[Measurement]:
    """`aetherium up` serves one VM; the other one, of the same kind, is this process's."""
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aetherium-bench-")))
        for name in ("here", "served"):
            shutil.copytree(data_dir() / "images", scratch / name / "images", symlinks=True)
        settings = Settings(data_dir=scratch / "here", pool=())
        platform = await stack.enter_async_context(open_platform(settings, background=True))
        own = await platform.vms.create(VMSpec(resources=SIZE))
        server = await stack.enter_async_context(up(scratch / "served", {"AETHERIUM_POOL": "[]"}))
        client = await stack.enter_async_context(AsyncClient.http(server.url, api_key=server.key))
        vm = await client.vms.create(VMSpec(resources=SIZE))
        ask = await stack.enter_async_context(connected(server.port))
        headers = {"authorization": f"Bearer {server.key}"}
        body = json.dumps({"argv": TRUE.argv}).encode()
        request = written("POST", f"/v1/vms/{vm.id}/executions", headers, body)
        async with platform.host.connections.session(own) as guest:
            ways: tuple[Callable[[], Awaitable[object]], ...] = (
                lambda: guest.run(new_id(EXECUTION), TRUE),
                lambda: _plain(ask, request),
                lambda: client.executions.run(vm.id, TRUE),
            )
            for way in ways:
                await way()
            rounds = [[await _timed(way()) for way in ways] for _ in range(repeat * 30)]
        await client.vms.delete(vm.id)
        await platform.vms.delete(own.id)
    direct, plain, sdk = (Samples(tuple(each)) for each in zip(*rounds, strict=True))
    yield Measurement("exec of /bin/true over REST", plain, direct, "through the driver")
    yield Measurement("what REST adds to it", Samples((plain.median - direct.median,)), limit=0.005)
    yield Measurement("the same by the SDK, which may repeat it", sdk, direct, "through the driver")


async def _plain(ask: Ask, request: bytes) -> None:
    answer = json.loads(await ask(request))
    assert answer["execution"]["result"]["exit_code"] == 0, answer


async def _timed(work: Awaitable[object]) -> float:
    # What the guest does behind the last command, none of the next one shall wait for.
    await asyncio.sleep(_SETTLED_S)
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin
