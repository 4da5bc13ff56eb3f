"""The host process is killed while VMs run; the next one finds or removes them, and leaks nothing."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from aetherium.bootstrap import Platform
from aetherium.domain.executions import ExecutionSpec, ExecutionState
from aetherium.domain.vms import VMState
from aetherium.images.store import DiskImageStore
from aetherium.process import spawned
from tests.fixtures.images import base_image_store
from tests.fixtures.platform import data_dir, fake_platform, qemu_platform
from tests.fixtures.waiting import eventually

__all__ = ["base_image_store", "data_dir"]

KEPT = 5


async def run_and_kill(kind: str, data_dir: Path, images: str, after_s: float, *, whole: bool = True) -> None:
    """Start the host process, wait until it is open, and ready if `whole`, and some more, and kill it."""
    argv = [sys.executable, "-m", "tests.faults.host", kind, str(data_dir), str(KEPT), images]
    async with spawned(argv, stdout=-1) as process:
        assert process.stdout is not None
        async with asyncio.timeout(180):
            assert await process.stdout.readline() == b"open\n"
            if whole:
                assert await process.stdout.readline() == b"ready\n"
        await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=after_s)
        process.send_signal(signal.SIGKILL)
        await process.wait()


def processes_of(data_dir: Path) -> list[int]:
    """Host processes that name the data directory in their arguments or work in it, this one left out."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes()
            place = str((entry / "cwd").readlink())
        except OSError:
            continue  # it has ended meanwhile
        if str(data_dir).encode() in arguments or place.startswith(str(data_dir)):
            found.append(int(entry.name))
    return found


def entries(data_dir: Path, *names: str) -> list[str]:
    """What lies in these directories."""
    paths = [path for name in names for path in (data_dir / name).glob("*")]
    return sorted(str(path.relative_to(data_dir)) for path in paths)


async def check(platform: Platform, data_dir: Path) -> None:
    """What outlives a process is there and works; everything else is gone. Of the VMs that it made and
    deleted in turn it may just have been given one, and that one is its own to delete."""
    vms = await platform.vms.list()
    names = [vm.spec.name for vm in vms if vm.spec.name is not None]
    assert sorted(names) == sorted([*(f"kept-{number}" for number in range(KEPT)), "fork"])
    assert len(vms) - len(names) <= 1
    assert {vm.state for vm in vms} == {VMState.RUNNING}
    assert [vm.id for vm in vms] == [vm.id for vm in await platform.host.store.vms.list()]
    (driver,) = platform.host.drivers.all()
    assert sorted(await driver.owned()) == sorted(vm.id for vm in vms)
    (execution,) = await platform.executions.list("kept-0")
    done = await platform.executions.wait(execution.id)
    assert (done.state, done.result and done.result.exit_code) == (ExecutionState.EXITED, 9)
    for vm in vms:
        assert (await platform.executions.run(vm.id, ExecutionSpec(("echo", "hi"))))[1] == b"hi\n"
    (snapshot,) = await platform.snapshots.list()
    assert entries(data_dir, "snapshots", "forks") == [f"snapshots/{snapshot.id}"]
    assert entries(data_dir, "owners") == [f"owners/{platform.host.owner}"]
    assert entries(data_dir, "locks") == []
    assert [name for name in entries(data_dir, "warm") if ".tmp" in name or ".part" in name] == []
    digest = (await platform.images.get("base")).digest
    assert set(await platform.host.images.holders(digest)) == {*(vm.id for vm in vms), snapshot.id}
    for vm in vms:
        await platform.vms.delete(vm.id)
    await platform.snapshots.delete(snapshot.id)


async def all_gone(data_dir: Path) -> None:
    """No process, and no file of a VM."""

    async def none() -> bool:
        return not await asyncio.to_thread(processes_of, data_dir)

    await eventually(none)
    assert entries(data_dir, "owners", "locks", "snapshots", "forks", "fake") == []
    assert entries(data_dir / "images", "holds") == []
    assert list((data_dir / "vms").glob("vm_*")) == []


async def survive(opened: AbstractAsyncContextManager[Platform], data_dir: Path) -> None:
    """Open the platform again, and look."""
    async with opened as platform:
        await check(platform, data_dir)
    await all_gone(data_dir)


@pytest.mark.parametrize("round_", range(3))
async def test_over_the_fake_driver(data_dir: Path, round_: int) -> None:
    await run_and_kill("fake", data_dir, "", random.Random(round_).uniform(0, 0.5))
    await survive(fake_platform(data_dir, forkable=True, background=False), data_dir)


@pytest.mark.parametrize("after_s", [0.02, 0.1, 0.2, 0.3, 0.45, 0.6])
async def test_killed_while_it_begins(data_dir: Path, after_s: float) -> None:
    """Seeds, warm snapshots in the making, VMs half made: what is left are whole VMs, and they can go."""
    await run_and_kill("fake", data_dir, "", after_s, whole=False)
    async with fake_platform(data_dir, forkable=True, background=False) as platform:
        rows = await platform.host.store.vms.list()
        (driver,) = platform.host.drivers.all()
        assert sorted(await driver.owned()) == sorted(vm.id for vm in rows)
        assert {(vm.state, vm.owner) for vm in rows} <= {(VMState.RUNNING, None)}
        assert [name for name in entries(data_dir, "warm") if name.endswith(".tmp")] == []
        assert entries(data_dir, "forks") == []
        for vm in rows:
            await platform.executions.run(vm.id, ExecutionSpec(("true",)))
            await platform.vms.delete(vm.id)
        for snapshot in await platform.snapshots.list():
            await platform.snapshots.delete(snapshot.id)
    await all_gone(data_dir)


@pytest.mark.vm
async def test_on_qemu(data_dir: Path, base_image_store: DiskImageStore) -> None:
    await run_and_kill("qemu", data_dir, str(base_image_store.layout.root), 0.3)
    await survive(qemu_platform(data_dir, base_image_store, background=False), data_dir)
