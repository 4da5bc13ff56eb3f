"""Ctrl-C at random moments leaves nothing: no process, no directory of a VM, no socket.

Over the fake driver, whose VMs are real processes with real sockets, each moment costs about a second; on
QEMU it is some more. The moments lie everywhere from the first imports to the middle of the running command.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import stat
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium.images.store import DiskImageStore
from tests.e2e.conftest import CLI, cli
from tests.fixtures.leftovers import end_all, working_in
from tests.fixtures.platform import share_images

__all__ = ["cli"]

# Chosen once; the same moments in every run, relative to how long the machine takes to get there.
_SEED = 20261124
_MOMENTS = 10


@pytest.fixture
async def qemu_cli(base_image_store: DiskImageStore) -> AsyncIterator[CLI]:
    """A command line over QEMU, with the image base."""
    data_dir = Path(tempfile.mkdtemp(prefix="aeth-"))
    try:
        await asyncio.to_thread(share_images, base_image_store, data_dir)
        yield CLI(data_dir, "qemu")
    finally:
        await asyncio.to_thread(end_all, data_dir)
        await asyncio.to_thread(shutil.rmtree, data_dir)


def _processes(data_dir: Path) -> list[str]:
    """All processes that work in `data_dir`, or have it in their command lines."""
    found = working_in(data_dir)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if str(data_dir) in line:
            found[int(path.parent.name)] = line
    return list(found.values())


def _left(data_dir: Path) -> list[str]:
    """Processes; sockets anywhere; directories of VMs, fetched sources, places of commands."""
    sockets = [str(path) for path in data_dir.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]
    vms = [str(path) for root in ("fake", "vms") for path in (data_dir / root).glob("vm_*")]
    scratch = [str(path) for path in (data_dir / "forks").glob("*")]
    places = [str(path) for path in (data_dir / "run").glob("cli-*")]
    return [*_processes(data_dir), *sockets, *vms, *scratch, *places]


async def _interrupt(cli: CLI, words: tuple[str, ...], after_s: float, times: int) -> int:
    """Start a command, press Ctrl-C after a while, and wait for its end."""
    async with cli.start(*words) as child, asyncio.timeout(60):
        try:
            async with asyncio.timeout(after_s):
                await child.wait()
        except TimeoutError:
            for _ in range(times):
                child.send_signal(signal.SIGINT)
        assert child.stdout is not None
        assert child.stderr is not None
        _, errors = await child.communicate()
        assert b"Traceback" not in errors, errors.decode()
        return await child.wait()


async def _duration(cli: CLI, words: tuple[str, ...]) -> float:
    """How long a command takes here and now."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    done = await cli(*words)
    assert done.exit_code == 0, done.stderr
    return loop.time() - begin


async def _interrupt_runs(cli: CLI) -> None:
    whole = await _duration(cli, ("run", "--", "true"))
    moments = random.Random(_SEED)
    for number in range(_MOMENTS):
        after_s = moments.uniform(0.15, 1.0) * whole
        code = await _interrupt(cli, ("run", "--", "sleep", "60"), after_s, times=1 + number % 2)
        assert code == 130, after_s
        assert await asyncio.to_thread(_left, cli.data_dir) == [], after_s
    assert await cli.json("vm", "list") == []


@pytest.mark.timeout(600)
async def test_ctrl_c_in_run_leaves_nothing(cli: CLI) -> None:
    await _interrupt_runs(cli)


@pytest.mark.vm
@pytest.mark.timeout(600)
async def test_ctrl_c_in_run_leaves_nothing_of_qemu(qemu_cli: CLI) -> None:
    # The first run makes the warm snapshot that all others start from.
    await _duration(qemu_cli, ("run", "--", "true"))
    assert await asyncio.to_thread(_left, qemu_cli.data_dir) == []
    await _interrupt_runs(qemu_cli)


@pytest.mark.timeout(600)
async def test_ctrl_c_while_a_vm_is_created_leaves_it_whole_or_not_at_all(cli: CLI) -> None:
    whole = await _duration(cli, ("vm", "create"))
    await cli("vm", "rm", "--all")
    moments = random.Random(_SEED)
    for _ in range(_MOMENTS // 2):
        after_s = moments.uniform(0.2, 1.0) * whole
        code = await _interrupt(cli, ("vm", "create"), after_s, times=1)
        assert code in (0, 130)
        found = [vm["state"] for vm in await cli.json("vm", "list")]
        assert found in ([], ["running"])
        await cli("vm", "rm", "--all")
        assert await asyncio.to_thread(_left, cli.data_dir) == [], after_s
