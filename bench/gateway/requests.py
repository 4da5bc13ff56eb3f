"""Authenticated requests, against the least that the framework can do."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.fixtures.ports import free_port
from tests.fixtures.waiting import eventually

from aetherium.client import AsyncClient
from aetherium.domain.tasks import TaskSpec
from aetherium.process import spawned
from bench.gateway.load import rate
from bench.gateway.server import READY_S, up
from bench.report import Measurement, Samples

_AT_ONCE = 16
_WARM = 400


async def requests(count: int, repeat: int) -> AsyncIterator[Measurement]:
    """``GET /v1/tasks/{id}`` with an API key, rights and limits, and a route that reads the same row."""
    with tempfile.TemporaryDirectory(prefix="aetherium-bench-") as scratch:
        data = Path(scratch) / "data"
        async with up(data, {"AETHERIUM_DRIVERS": '["fake"]', "AETHERIUM_POOL": "[]"}) as server:
            async with AsyncClient.http(server.url, api_key=server.key) as client:
                task = await client.tasks.submit(TaskSpec("system.noop"))
                await client.tasks.wait(task.id)
            path, headers = f"/v1/tasks/{task.id}", {"authorization": f"Bearer {server.key}"}
            async with _bare(data / "aetherium.db") as (pid, port):
                ours, least = [], []
                await rate(server.pid, server.port, path, headers, _WARM, _AT_ONCE)
                await rate(pid, port, path, {}, _WARM, _AT_ONCE)
                for _ in range(repeat):
                    ours.append(await rate(server.pid, server.port, path, headers, count, _AT_ONCE))
                    least.append(await rate(pid, port, path, {}, count, _AT_ONCE))
    unit = "requests per second of CPU"
    yield Measurement(
        "authenticated GET of a task",
        Samples(tuple(ours), unit),
        Samples(tuple(least), unit),
        "bare FastAPI, one read",
        limit=0.5,
        at_least=True,
    )


@asynccontextmanager
async def _bare(database: Path) -> AsyncIterator[tuple[int, int]]:
    port = free_port()
    command = [sys.executable, "-m", "bench.gateway.bare", str(database), str(port)]
    async with spawned(command) as process:
        try:
            await eventually(lambda: _listens(port), within_s=READY_S)
            yield process.pid, port
        finally:
            process.terminate()
            await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
