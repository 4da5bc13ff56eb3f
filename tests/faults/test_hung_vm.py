"""A VM's process hangs in the middle of a command: the caller is told in time, and nobody else is held up."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from aetherium.bootstrap import Platform
from aetherium.channel import connection, guest
from aetherium.domain.errors import VMUnresponsive
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.vms import VM, VMSpec, VMState
from aetherium.images.store import DiskImageStore
from aetherium.services.connections import VERDICT_S, handle_of
from tests.fixtures.images import base_image_store
from tests.fixtures.platform import data_dir, qemu_platform

__all__ = ["base_image_store", "data_dir"]

pytestmark = pytest.mark.vm

# A fraction of the real times, and still far above what a guest under TCG takes to answer: silence until a
# connection counts as lost, and how long a new one is tried for.
HEARTBEAT_S, DEAD_S, RECONNECT_S = 1.0, 5.0, 3.0
# Not exact times of the loop on a busy machine.
SLACK_S = 2.0


async def process_of(platform: Platform, vm: VM) -> int:
    """QEMU's pid."""
    pid = (await platform.host.drivers.get(vm.driver).inspect(handle_of(vm))).pid
    assert pid is not None
    return pid


async def hang(platform: Platform, vm: VM, pid: int) -> float:
    """Stop the VM's process while a command runs; seconds until its caller gets VMUnresponsive."""
    stopped = 0.0

    async def follow() -> None:
        nonlocal stopped
        spec = ExecutionSpec(("sh", "-c", "echo here; sleep 600"))
        async with platform.executions.launch(vm.id, spec) as (_, attachment):
            async for _ in attachment:
                os.kill(pid, signal.SIGSTOP)
                stopped = time.monotonic()

    with pytest.raises(VMUnresponsive) as caught:
        await follow()
    assert vm.id in caught.value.message
    return time.monotonic() - stopped


async def test_a_hung_vm_is_told_and_the_others_go_on(
    data_dir: Path, base_image_store: DiskImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEARTBEAT_S", HEARTBEAT_S)
    monkeypatch.setattr(connection, "DEAD_S", DEAD_S)
    monkeypatch.setattr(guest, "RECONNECT_S", RECONNECT_S)
    async with qemu_platform(data_dir, base_image_store) as platform:
        vm, other = await platform.vms.create(VMSpec()), await platform.vms.create(VMSpec())
        pid = await process_of(platform, vm)
        async with asyncio.TaskGroup() as group:
            told = group.create_task(hang(platform, vm, pid))
            rounds = 0
            while not told.done():
                _, out, _ = await platform.executions.run(other.id, ExecutionSpec(("echo", "fine")))
                assert out == b"fine\n"
                rounds += 1
        assert told.result() < DEAD_S + HEARTBEAT_S + RECONNECT_S + VERDICT_S + SLACK_S
        assert rounds > 5
        await platform.reconciler.reconcile()
        assert (await platform.vms.metrics(vm.id)).condition == "hung"
        assert (await platform.vms.get(vm.id)).state is VMState.RUNNING
        third = await platform.vms.create(VMSpec())
        os.kill(pid, signal.SIGCONT)
        await platform.executions.run(vm.id, ExecutionSpec(("true",)))
        os.kill(pid, signal.SIGSTOP)
        for each in (vm, other, third):
            await platform.vms.delete(each.id)
        assert not await asyncio.to_thread(Path(f"/proc/{pid}/exe").exists)
