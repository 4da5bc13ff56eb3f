"""TTL and idle policies, on a clock that the test moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherium.domain.errors import NotFound
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.vms import IDLE, VMSpec, VMState
from aetherium.testing.clock import MockClock
from tests.fixtures.platform import data_dir, fake_platform

__all__ = ["data_dir"]


async def test_a_vm_is_deleted_when_its_ttl_is_over(data_dir: Path) -> None:
    clock = MockClock()
    async with fake_platform(data_dir, clock=clock, background=False) as platform:
        vm = await platform.vms.create(VMSpec(ttl_s=60))
        clock.advance(59)
        await platform.reaper.look()
        await platform.vms.extend(vm.id, 60)
        clock.advance(59)
        await platform.reaper.look()
        assert (await platform.vms.get(vm.id)).state is VMState.RUNNING
        clock.advance(1)
        await platform.reaper.look()
        with pytest.raises(NotFound):
            await platform.vms.get(vm.id)


async def test_an_idle_vm_is_paused_and_resumed_by_its_next_use(data_dir: Path) -> None:
    clock = MockClock()
    async with fake_platform(data_dir, clock=clock, background=False) as platform:
        vm = await platform.vms.create(VMSpec(idle_timeout_s=30))
        clock.advance(20)
        await platform.executions.run(vm.id, ExecutionSpec(("true",)))
        clock.advance(20)
        await platform.reaper.look()
        assert (await platform.vms.get(vm.id)).state is VMState.RUNNING
        clock.advance(30)
        await platform.reaper.look()
        paused = await platform.vms.get(vm.id)
        assert (paused.state, paused.reason) == (VMState.PAUSED, IDLE)
        assert (await platform.executions.run(vm.id, ExecutionSpec(("echo", "hi"))))[1] == b"hi\n"
        resumed = await platform.vms.get(vm.id)
        assert (resumed.state, resumed.reason) == (VMState.RUNNING, "")


async def test_a_vm_in_use_is_not_idle(data_dir: Path) -> None:
    clock = MockClock()
    async with fake_platform(data_dir, clock=clock, background=False) as platform:
        vm = await platform.vms.create(VMSpec(idle_timeout_s=30, idle_action="delete"))
        async with platform.vms.guest(vm.id):
            clock.advance(100)
            await platform.reaper.look()
        execution = await platform.executions.start(vm.id, ExecutionSpec(("sleep", "60")))
        clock.advance(100)
        await platform.reaper.look()
        clock.advance(100)
        await platform.reaper.look()
        assert (await platform.vms.get(vm.id)).state is VMState.RUNNING
        await platform.executions.kill(execution.id)
        await platform.executions.wait(execution.id)
        clock.advance(31)
        await platform.reaper.look()
        with pytest.raises(NotFound):
            await platform.vms.get(vm.id)


async def test_a_vm_paused_by_a_person_stays_paused(data_dir: Path) -> None:
    clock = MockClock()
    async with fake_platform(data_dir, clock=clock, background=False) as platform:
        vm = await platform.vms.create(VMSpec(idle_timeout_s=30))
        await platform.vms.pause(vm.id)
        clock.advance(100)
        await platform.reaper.look()
        assert (await platform.vms.get(vm.id)).reason == ""
