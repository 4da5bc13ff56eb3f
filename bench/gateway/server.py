"""`aetherium up` as a process of its own, at a port, and a client with the key that it gives."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fixtures.ports import free_port

from aetherium.domain.errors import Unavailable
from aetherium.process import spawned

READY_S = 120.0


@dataclass(frozen=True, slots=True)
class Server:
    """What a benchmark asks."""

    pid: int
    port: int
    key: str = field(repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def up(data_dir: Path, settings: Mapping[str, str]) -> AsyncIterator[Server]:
    """It ends with the block. The limits of rates are out of the way."""
    port = free_port()
    environment = {
        **os.environ,
        "AETHERIUM_DATA_DIR": str(data_dir),
        "AETHERIUM_LISTEN": f"127.0.0.1:{port}",
        "AETHERIUM_RATE_LIMIT_KEY": "100000000/minute",
        **settings,
    }
    command = [sys.executable, "-m", "aetherium", "up", "--json"]
    async with spawned(command, env=environment, stdout=asyncio.subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            async with asyncio.timeout(READY_S):
                line = await process.stdout.readline()
            if not line:
                raise Unavailable(f"aetherium up ended with {await process.wait()}.")
            yield Server(process.pid, port, json.loads(line)["first_key"])
        finally:
            process.terminate()
            await process.wait()
