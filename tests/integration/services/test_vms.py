"""The services on real microVMs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium.bootstrap import Platform
from aetherium.domain.errors import BootFailed, Conflict, VMCrashed
from aetherium.domain.executions import ExecutionSpec, ExecutionState
from aetherium.domain.vms import IDLE, VM, VMSpec, VMState
from aetherium.images.store import DiskImageStore
from aetherium.services.connections import handle_of
from tests.fixtures.images import base_image_store
from tests.fixtures.platform import qemu_platform
from tests.fixtures.waiting import eventually

__all__ = ["base_image_store"]

pytestmark = pytest.mark.vm

WHO = "hostname; cat /etc/machine-id; head -c 16 /dev/urandom | base64; date +%s"


@pytest.fixture(scope="module")
async def platform(base_image_store: DiskImageStore) -> AsyncIterator[Platform]:
    data_dir = Path(tempfile.mkdtemp(prefix="aeth-"))
    try:
        async with qemu_platform(data_dir, base_image_store) as platform:
            yield platform
            for vm in await platform.host.store.vms.list():
                await platform.vms.delete(vm.id)
            assert list((data_dir / "vms").glob("vm_*")) == []
    finally:
        shutil.rmtree(data_dir)


async def said(platform: Platform, vm: str, script: str, **more: str) -> list[str]:
    """The lines that a script prints."""
    _, out, _ = await platform.executions.run(vm, ExecutionSpec(("sh", "-c", script), env=more))
    return out.decode().splitlines()


async def process_of(platform: Platform, vm: VM) -> int:
    """QEMU's pid."""
    pid = (await platform.host.drivers.get(vm.driver).inspect(handle_of(vm))).pid
    assert pid is not None
    return pid


async def test_vms_from_one_warm_snapshot_are_different(platform: Platform) -> None:
    made = await asyncio.gather(*(platform.vms.create(VMSpec(name=f"warm-{n}")) for n in range(3)))
    forks = await platform.vms.fork("warm-0", 2, names=("fork-0", "fork-1"))
    told, late = [], []
    for vm in (*made, *forks):
        told.append(await said(platform, vm.id, WHO))
        late.append(time.time() - int(told[-1][3]))
    assert [lines[0] for lines in told] == ["warm-0", "warm-1", "warm-2", "fork-0", "fork-1"]
    assert len({lines[1] for lines in told}) == 5
    assert len({lines[2] for lines in told}) == 5
    assert all(abs(seconds) < 5 for seconds in late)
    for vm in (*made, *forks):
        await platform.vms.delete(vm.id)


async def test_a_killed_process_is_told_within_two_seconds(platform: Platform) -> None:
    vm = await platform.vms.create(VMSpec())
    pid = await process_of(platform, vm)
    killed = 0.0

    async def run() -> None:
        nonlocal killed
        spec = ExecutionSpec(("sh", "-c", "echo here; sleep 60"))
        async with platform.executions.launch(vm.id, spec) as (_, attachment):
            async for _ in attachment:
                os.kill(pid, signal.SIGKILL)
                killed = time.monotonic()

    with pytest.raises(VMCrashed) as caught:
        await run()
    assert time.monotonic() - killed < 2.0
    assert vm.id in caught.value.message

    async def recorded() -> bool:
        row = await platform.vms.get(vm.id)
        executions = await platform.executions.list(vm.id)
        return row.state is VMState.FAILED and executions[0].state is ExecutionState.LOST

    await eventually(recorded)
    await platform.vms.delete(vm.id)


async def test_a_kernel_panic_is_told_and_leaves_no_process(platform: Platform) -> None:
    vm = await platform.vms.create(VMSpec())
    pid = await process_of(platform, vm)
    script = "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger; sleep 60"
    spec = ExecutionSpec(("sh", "-c", script), user="root")
    with pytest.raises(VMCrashed):
        await platform.executions.run(vm.id, spec)

    async def gone() -> bool:
        return not await asyncio.to_thread(Path(f"/proc/{pid}/exe").exists)

    await eventually(gone)
    await platform.vms.delete(vm.id)


async def test_a_guest_that_powers_itself_off_has_stopped_and_not_failed(platform: Platform) -> None:
    vm = await platform.vms.create(VMSpec())
    with pytest.raises(VMCrashed, match="powered off"):
        await platform.executions.run(
            vm.id, ExecutionSpec(("sh", "-c", "echo o > /proc/sysrq-trigger; sleep 60"), user="root")
        )

    async def stopped() -> bool:
        return (await platform.vms.get(vm.id)).state is VMState.STOPPED

    await eventually(stopped)
    assert "powered off" in (await platform.vms.get(vm.id)).reason
    (execution,) = await platform.executions.list(vm.id)
    assert execution.state is ExecutionState.LOST
    await platform.vms.delete(vm.id)


async def test_an_idle_vm_sleeps_and_wakes_with_the_right_time(platform: Platform) -> None:
    vm = await platform.vms.create(VMSpec(idle_timeout_s=1.5))
    before = (await said(platform, vm.id, WHO))[1]

    async def paused() -> bool:
        return (await platform.vms.get(vm.id)).reason == IDLE

    await eventually(paused, within_s=20)
    host, _, _, clock = await said(platform, vm.id, WHO)
    assert abs(int(clock) - time.time()) < 5
    assert (await said(platform, vm.id, WHO))[:2] == [host, before]
    assert (await platform.vms.get(vm.id)).state is VMState.RUNNING
    await platform.vms.delete(vm.id)


async def test_a_snapshot_keeps_memory_and_disk(platform: Platform) -> None:
    vm = await platform.vms.create(VMSpec())
    await said(platform, vm.id, "echo kept > ~/file; echo kept > /dev/shm/file")
    execution = await platform.executions.start(vm.id, ExecutionSpec(("sleep", "600")))
    await platform.snapshots.create(vm.id, name="state")
    await platform.vms.delete(vm.id)
    restored = await platform.vms.create(VMSpec(name="restored"), snapshot="state")
    assert await said(platform, restored.id, "cat ~/file /dev/shm/file; hostname") == [
        "kept",
        "kept",
        "restored",
    ]
    async with platform.vms.guest("restored") as guest:
        assert [status.state for status in await guest.executions() if status.id == execution.id] == [
            ExecutionState.RUNNING
        ]
    await platform.snapshots.delete("state")
    assert await said(platform, restored.id, "cat ~/file") == ["kept"]
    await platform.vms.delete(restored.id)


async def test_a_running_secret_does_not_get_into_a_snapshot(platform: Platform) -> None:
    vm = await platform.vms.create(VMSpec())
    spec = ExecutionSpec(("sleep", "600"), secret_env={"TOKEN": "not-for-a-disk"})
    execution = await platform.executions.start(vm.id, spec)
    for attempt in (platform.snapshots.create(vm.id), platform.vms.fork(vm.id)):
        with pytest.raises(Conflict, match="secrets"):
            await attempt
    await platform.executions.kill(execution.id)
    await platform.executions.wait(execution.id)
    (fork,) = await platform.vms.fork(vm.id)
    await platform.vms.delete(fork.id)
    await platform.vms.delete(vm.id)


async def test_a_clean_stop_lets_the_guest_end(platform: Platform) -> None:
    vm = await platform.vms.create(VMSpec())
    begin = time.monotonic()
    stopped = await platform.vms.stop(vm.id, grace_s=20)
    assert stopped.state is VMState.STOPPED
    assert time.monotonic() - begin < 15
    assert all(check.name != "agent" or not check.ok for check in await platform.vms.diagnose(vm.id))
    await platform.vms.delete(vm.id)


async def test_a_guest_without_an_answer_is_a_failed_boot(base_image_store: DiskImageStore) -> None:
    data_dir = Path(tempfile.mkdtemp(prefix="aeth-"))
    try:
        async with qemu_platform(
            data_dir, base_image_store, boot_timeout_s=0.2, warm_snapshots=0
        ) as platform:
            with pytest.raises(BootFailed) as caught:
                await platform.vms.create(VMSpec())
            assert "console" in caught.value.details
            assert await platform.host.store.vms.list() == []
        assert list((data_dir / "vms").glob("vm_*")) == []
    finally:
        shutil.rmtree(data_dir)
