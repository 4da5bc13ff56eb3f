"""`aetherium up` is killed in the middle of requests: what they were about is done once, or not at all."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from aetherium.settings import Settings
from tests.e2e.conftest import CLI, cli
from tests.faults.interrupted import Victim, interrupt

__all__ = ["cli"]


async def test_requests_outlive_the_daemon(cli: CLI, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        daemon: list[asyncio.subprocess.Process] = []

        async def start() -> None:
            daemon.append(await stack.enter_async_context(cli.daemon()))

        async def again() -> None:
            daemon[-1].send_signal(signal.SIGKILL)
            await daemon[-1].wait()
            await start()

        await start()
        await interrupt(Victim(Settings(data_dir=cli.data_dir).socket, again), tmp_path)
