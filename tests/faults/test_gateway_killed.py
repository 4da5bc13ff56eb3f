"""`aetherium up` is killed in the middle of requests: what they were about is done once, or not at all."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from aetherium.images.store import DiskImageStore
from aetherium.settings import Settings
from tests.e2e.conftest import CLI, cli
from tests.faults.interrupted import Victim, interrupt, interrupt_copies
from tests.fixtures.images import base_image_store
from tests.fixtures.leftovers import end_all, working_in
from tests.fixtures.platform import data_dir, share_images

__all__ = ["base_image_store", "cli", "data_dir"]


async def test_requests_outlive_the_daemon(cli: CLI, tmp_path: Path) -> None:
    async with _victim(cli) as victim:
        await interrupt(victim, tmp_path)


@pytest.mark.vm
async def test_forks_and_snapshots_outlive_the_daemon(
    data_dir: Path, base_image_store: DiskImageStore
) -> None:
    share_images(base_image_store, data_dir)
    cli = CLI(data_dir, "qemu")
    try:
        async with _victim(cli) as victim:
            await interrupt_copies(victim)
            assert (await cli("vm", "rm", "--all")).exit_code == 0
        assert not await asyncio.to_thread(working_in, data_dir / "vms")
    finally:
        await asyncio.to_thread(end_all, data_dir)


@asynccontextmanager
async def _victim(cli: CLI) -> AsyncIterator[Victim]:
    """A daemon during the block."""
    async with AsyncExitStack() as stack:
        daemon: list[asyncio.subprocess.Process] = []

        async def start() -> None:
            daemon.append(await stack.enter_async_context(cli.daemon(AETHERIUM_REQUEST_LEASE_S="5")))

        async def again() -> None:
            daemon[-1].send_signal(signal.SIGKILL)
            await daemon[-1].wait()
            await start()

        await start()
        yield Victim(Settings(data_dir=cli.data_dir).socket, again)
