"""The driver contract: all the ways in which a VM ends."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from aetherium.domain.errors import AetheriumError
from aetherium.domain.ids import VM, new_id
from aetherium.interfaces.drivers import Condition, Launch, VMDriver
from tests.contract.drivers.base import (
    DEADLINE_S,
    ContractBase,
    MakeDriver,
    condition,
    ended,
    names,
    process_of,
    processes_in,
)
from tests.fixtures.vms import RunningVM


class EndContract(ContractBase):
    """Stopping, crashing, deleting at any moment."""

    async def test_stop_ends_it_and_may_be_repeated(self, vm: RunningVM, root: Path) -> None:
        for _ in range(2):
            await vm.driver.stop(vm.handle)
        found = await ended(vm.driver, vm.handle, 0.5)
        assert found.condition is Condition.GONE
        assert found.reason
        assert not found.orderly
        assert found.pid is None
        assert (root / vm.id).is_dir()

    async def test_powers_off_within_the_grace(self, vm: RunningVM) -> None:
        await vm.guest.power_off()
        begin = asyncio.get_running_loop().time()
        await vm.driver.stop(vm.handle, grace_s=DEADLINE_S)
        assert asyncio.get_running_loop().time() - begin < DEADLINE_S / 2
        assert await condition(vm.driver, vm.handle) is Condition.GONE

    async def test_a_guest_that_powers_off_is_told_from_a_crash(self, vm: RunningVM) -> None:
        alone = "init" in vm.guest.info.capabilities
        await vm.guest.power_off()
        found = await ended(vm.driver, vm.handle, DEADLINE_S)
        assert found.condition is Condition.GONE
        # A process without a machine around it leaves no trace of how it ended.
        assert found.orderly is alone

    async def test_grace_runs_out(self, vm: RunningVM) -> None:
        begin = asyncio.get_running_loop().time()
        await vm.driver.stop(vm.handle, grace_s=0.3)
        assert 0.3 <= asyncio.get_running_loop().time() - begin < DEADLINE_S
        assert await condition(vm.driver, vm.handle) is Condition.GONE

    async def test_a_crash_is_seen_at_once(self, vm: RunningVM) -> None:
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(vm.driver.wait(vm.handle))
            await asyncio.sleep(0)
            os.kill(process_of(vm.handle), signal.SIGKILL)
            async with asyncio.timeout(0.5):
                found = await waiting
        assert found.condition is Condition.GONE
        assert found.reason
        assert not found.orderly

    async def test_console_outlives_the_vm(self, vm: RunningVM) -> None:
        before = await vm.driver.console(vm.id)
        await vm.driver.stop(vm.handle)
        assert (await vm.driver.console(vm.id)).startswith(before)
        assert len(await vm.driver.console(vm.id, max_bytes=5)) <= 5
        await vm.driver.delete(vm.id)
        assert await vm.driver.console(vm.id) == b""

    async def test_deletes_what_is_not_there(self, driver: VMDriver) -> None:
        await driver.delete(new_id(VM))

    async def test_deletes_a_running_vm_without_its_handle(
        self, vm: RunningVM, make_driver: MakeDriver, root: Path
    ) -> None:
        pid = process_of(vm.handle)
        other = make_driver(root)
        for _ in range(2):
            await other.delete(vm.id)
        assert not (root / vm.id).exists()
        assert pid not in processes_in(root)
        assert await condition(vm.driver, vm.handle) is Condition.GONE

    async def test_deletes_a_lone_directory(self, driver: VMDriver, root: Path) -> None:
        vm_id = new_id(VM)
        (root / vm_id).mkdir(parents=True)
        assert vm_id in await driver.owned()
        await driver.delete(vm_id)
        assert vm_id not in await driver.owned()

    async def test_a_cancelled_start_leaves_nothing(
        self, driver: VMDriver, root: Path, launch: Launch
    ) -> None:
        start = asyncio.ensure_future(driver.start(launch))
        await _appears(root / launch.vm_id, start)
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        if not start.cancelled():  # it was quicker
            await driver.delete(launch.vm_id)
        assert launch.vm_id not in await driver.owned()
        assert not processes_in(root / launch.vm_id)

    async def test_deletes_in_the_middle_of_a_start(
        self, driver: VMDriver, make_driver: MakeDriver, root: Path, launch: Launch
    ) -> None:
        start = asyncio.ensure_future(driver.start(launch))
        await _appears(root / launch.vm_id, start)
        await make_driver(root).delete(launch.vm_id)
        (outcome,) = await asyncio.gather(start, return_exceptions=True)
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, AetheriumError)
        else:
            assert await condition(driver, outcome) is Condition.GONE
        await driver.delete(launch.vm_id)
        assert launch.vm_id not in await driver.owned()
        assert not processes_in(root / launch.vm_id)


async def _appears(path: Path, work: asyncio.Future[Any]) -> None:
    """Return when `path` is there or `work` is done, whatever is first."""
    async with asyncio.timeout(DEADLINE_S):
        while path.name not in names(path.parent) and not work.done():  # noqa: ASYNC110  # one turn each
            await asyncio.sleep(0)
