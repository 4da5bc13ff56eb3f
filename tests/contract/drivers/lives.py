"""The driver contract: from nothing to a running VM, and what can be done with it."""

from __future__ import annotations

import asyncio
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from aetherium.domain.errors import AlreadyExists, Conflict, InvalidInput, Unsupported
from aetherium.domain.vms import Capability, NetworkMode, NetworkPolicy
from aetherium.interfaces.drivers import Condition, Launch, VMDriver
from tests.contract.drivers.base import (
    DEADLINE_S,
    ContractBase,
    MakeDriver,
    MakeVM,
    condition,
    names,
    processes_in,
    silent,
    sockets_below,
)
from tests.fixtures.vms import RunningVM, connected
from tests.fixtures.waiting import eventually


class LifeContract(ContractBase):
    """Starting, finding again, pausing."""

    async def test_says_whether_it_works(self, driver: VMDriver) -> None:
        found = await driver.probe()
        assert found.available
        assert {Capability.EXEC, Capability.FILES} <= found.capabilities
        async with asyncio.timeout(0.1):
            assert await driver.probe() == found

    async def test_starts_runs_and_leaves_nothing(self, driver: VMDriver, root: Path, launch: Launch) -> None:
        handle = await driver.start(launch)
        try:
            async with asyncio.timeout(DEADLINE_S):
                vm = await connected(driver, handle)
            result, stdout, _ = await vm.sh("echo $((6 * 7))")
            assert (result.exit_code, stdout) == (0, b"42\n")
            assert launch.vm_id in await driver.owned()
            assert processes_in(root / launch.vm_id)
            await vm.guest.close()
        finally:
            await driver.delete(launch.vm_id)
        assert launch.vm_id not in await driver.owned()
        assert not names(root)
        assert not processes_in(root)
        assert not sockets_below(root)

    async def test_directory_is_private(self, vm: RunningVM, root: Path) -> None:
        assert stat.S_IMODE((root / vm.id).stat().st_mode) == 0o700

    async def test_runs_and_tells_what_it_uses(self, vm: RunningVM) -> None:
        await vm.sh("true")
        facts = await vm.driver.inspect(vm.handle)
        assert facts.condition is Condition.RUNNING
        assert facts.pid

        async def used() -> bool:
            await vm.sh("true")  # the kernel counts whole ticks of 10 ms, and may miss short work
            return (await vm.driver.inspect(vm.handle)).cpu_s > 0

        await eventually(used)
        assert facts.memory_bytes > 1 << 20

    async def test_another_driver_takes_a_vm_over(
        self, make_vm: MakeVM, make_driver: MakeDriver, root: Path
    ) -> None:
        vm = await make_vm()
        await vm.guest.close()
        other = make_driver(root)
        assert (await other.recover(vm.handle)).condition is Condition.RUNNING
        again = await connected(other, vm.handle)
        assert (await again.sh("exit 3"))[0].exit_code == 3
        await again.guest.close()
        await other.stop(vm.handle)
        assert await condition(vm.driver, vm.handle) is Condition.GONE

    async def test_a_reused_pid_is_not_taken_for_the_vm(self, vm: RunningVM) -> None:
        data = {**vm.handle.data, "start_time": 1}
        stranger = replace(vm.handle, data=data)
        assert (await vm.driver.recover(stranger)).condition is Condition.GONE
        await vm.driver.stop(stranger)
        assert await condition(vm.driver, vm.handle) is Condition.RUNNING

    async def test_a_foreign_handle_is_refused(self, vm: RunningVM) -> None:
        with pytest.raises(Unsupported):
            await vm.driver.recover(replace(vm.handle, version=999))
        with pytest.raises(Unsupported):
            await vm.driver.inspect(replace(vm.handle, driver="other"))

    async def test_an_id_is_used_once(self, vm: RunningVM, launch: Launch) -> None:
        with pytest.raises(AlreadyExists):
            await vm.driver.start(replace(launch, vm_id=vm.id))
        assert await condition(vm.driver, vm.handle) is Condition.RUNNING

    @pytest.mark.parametrize("vm_id", ["", "../escape", "vm_", "vm_short", "/etc", "vm_0000000000000000/.."])
    async def test_only_ids_become_paths(self, driver: VMDriver, launch: Launch, vm_id: str) -> None:
        with pytest.raises(InvalidInput):
            await driver.start(replace(launch, vm_id=vm_id))
        with pytest.raises(InvalidInput):
            await driver.delete(vm_id)
        with pytest.raises(InvalidInput):
            await driver.console(vm_id)

    async def test_pauses_and_resumes(self, vm: RunningVM, capabilities: frozenset[Capability]) -> None:
        driver = vm.driver
        if Capability.PAUSE not in capabilities:
            with pytest.raises(Unsupported):
                await driver.pause(vm.handle)
            return
        for _ in range(2):
            await driver.pause(vm.handle)
        assert await condition(driver, vm.handle) is Condition.PAUSED
        assert await silent(vm, 0.5)
        for _ in range(2):
            await driver.resume(vm.handle)
        assert await condition(driver, vm.handle) is Condition.RUNNING
        assert (await vm.sh("true"))[0].ok

    async def test_what_has_ended_cannot_be_paused(self, vm: RunningVM) -> None:
        await vm.driver.stop(vm.handle)
        with pytest.raises((Conflict, Unsupported)):
            await vm.driver.pause(vm.handle)
        with pytest.raises((Conflict, Unsupported)):
            await vm.driver.resume(vm.handle)

    @pytest.mark.parametrize("mode", [NetworkMode.OPEN, NetworkMode.ALLOWLIST])
    async def test_a_network_policy_is_enforced_or_refused(
        self, driver: VMDriver, launch: Launch, capabilities: frozenset[Capability], mode: NetworkMode
    ) -> None:
        assert Capability.NETWORK_POLICY not in capabilities
        with pytest.raises(Unsupported):
            await driver.start(replace(launch, network=NetworkPolicy(mode)))
        assert launch.vm_id not in await driver.owned()
