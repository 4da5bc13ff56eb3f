"""Pausing, resuming and stopping VMs, and capturing their state."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from aetherium.domain.errors import AetheriumError, Conflict, InvalidTransition, Unsupported, VMCrashed
from aetherium.domain.vms import VM, VM_LIFECYCLE, Capability, VMState
from aetherium.interfaces.drivers import Condition, SnapshotData, VMDriver
from aetherium.interfaces.finishing import finish
from aetherium.services.connections import handle_of
from aetherium.services.host import LIVE, Host
from aetherium.services.launching import Launcher
from aetherium.services.settling import Settler

log = logging.getLogger(__name__)

# How long the agent may take to agree to power off.
_AGREE_S = 3.0


class Power:
    """Each change holds the VM's lock, so that no two processes work on one VM at once, and once begun goes
    on to its end over cancellation."""

    def __init__(self, host: Host, launcher: Launcher, settler: Settler) -> None:
        self._host = host
        self._settler = settler
        self._launcher = launcher

    async def stop(self, vm_id: str, grace_s: float) -> VM:
        """Power off, then force."""
        return await finish(self._stop(vm_id, grace_s))

    async def pause(self, vm_id: str, *, reason: str = "") -> VM:
        """Stop its processors."""
        return await finish(self._pause(vm_id, reason))

    async def resume(self, vm_id: str) -> VM:
        """Go on."""
        return await finish(self._resume(vm_id))

    async def go_on(self, vm_id: str) -> None:
        """Resume a VM whose row says that it runs and that is paused: the process that paused it, for a
        snapshot maybe, was killed. Nothing is done where somebody works on it, or it is not so any more."""
        if self._host.locks.free(vm_id):
            await finish(self._go_on(vm_id))

    async def resume_idle(self, vm_id: str) -> VM:
        """Go on if the idle policy paused it; of several callers at once one does it."""
        try:
            return await self.resume(vm_id)
        except InvalidTransition:
            return await self._host.store.vms.get(vm_id)

    @asynccontextmanager
    async def captured(self, vm_id: str) -> AsyncIterator[tuple[SnapshotData, Path]]:
        """A snapshot for the time of the block, to fork from."""
        directory = self._host.settings.data_dir / "forks" / f"{self._host.owner}.{vm_id}"
        async with self._host.locks.hold(f"fork-{vm_id}"):
            try:
                yield await self.capture(vm_id, directory), directory
            finally:
                await finish(asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True))

    async def capture(self, vm_id: str, directory: Path) -> SnapshotData:
        """Write a running or paused VM's state to `directory`, which must not exist. Raises Conflict while a
        command that was given secrets runs in it: they would be in the file of its memory."""
        async with self._host.locks.hold(vm_id):
            vm = await self._host.store.vms.get(vm_id)
            if vm.state not in LIVE:
                raise Conflict(
                    f"The VM {vm.id} is {vm.state}.",
                    hint="Only one that runs has a state to copy.",
                )
            await self._refuse_secrets(vm)
            await asyncio.to_thread(directory.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
            return await self._driver(vm).snapshot(handle_of(vm), directory)

    async def _refuse_secrets(self, vm: VM) -> None:
        await self._settler.refresh(vm)
        for execution in await self._host.store.executions.list(vm.id, unfinished=True):
            if execution.secret_names:
                raise Conflict(
                    f"The execution {execution.id} runs with secrets, which the VM's memory holds.",
                    hint="Wait for its end, or kill it.",
                    execution_id=execution.id,
                )

    async def _stop(self, vm_id: str, grace_s: float) -> VM:
        host = self._host
        async with host.locks.hold(vm_id):
            before = await host.store.vms.get(vm_id)
            VM_LIFECYCLE.check(before.state, VMState.STOPPING, vm_id)
            if before.state is VMState.CREATING:
                raise InvalidTransition(
                    f"The VM {vm_id} is still being created.", hint="Delete it, or wait until it runs."
                )
            vm = await host.store.vms.transition(vm_id, VMState.STOPPING, only_from=LIVE)
            agreed = grace_s > 0 and before.state is VMState.RUNNING and await self._power_off(before)
            await host.connections.drop(vm_id)
            return await self.end(vm, grace_s if agreed else 0.0)

    async def end(self, vm: VM, grace_s: float) -> VM:
        """The second half of a stop; also where the process that began it has died."""
        await self._driver(vm).stop(handle_of(vm), grace_s=grace_s)
        stopped = await self._host.store.vms.transition(
            vm.id, VMState.STOPPED, only_from={VMState.STOPPING}, reason="it was stopped"
        )
        await self._host.store.executions.lose(vm.id, self._host.clock.now())
        return stopped

    async def _power_off(self, vm: VM) -> bool:
        try:
            async with asyncio.timeout(_AGREE_S), self._host.connections.session(vm) as guest:
                await guest.power_off()
        except VMCrashed:
            return True  # it was off before its answer came
        except (AetheriumError, TimeoutError) as error:
            log.info("The agent of %s does not power off; it is stopped by force: %s", vm.id, error)
            return False
        return True

    async def _pause(self, vm_id: str, reason: str) -> VM:
        host = self._host
        async with host.locks.hold(vm_id):
            vm = await host.store.vms.get(vm_id)
            VM_LIFECYCLE.check(vm.state, VMState.PAUSED, vm_id)
            driver = await self._able(vm)
            await host.connections.pause(vm_id)
            await driver.pause(handle_of(vm))
            return await host.store.vms.transition(vm_id, VMState.PAUSED, reason=reason)

    async def _resume(self, vm_id: str) -> VM:
        host = self._host
        async with host.locks.hold(vm_id):
            vm = await host.store.vms.get(vm_id)
            if vm.state is not VMState.PAUSED:
                raise InvalidTransition(
                    f"VM {vm_id} is {vm.state} and cannot be resumed.", hint="Only a paused VM can."
                )
            await self._able(vm)
            await self._wake(vm)
            return await host.store.vms.transition(
                vm_id, VMState.RUNNING, reason="", last_active_at=host.clock.now()
            )

    async def _go_on(self, vm_id: str) -> None:
        async with self._host.locks.hold(vm_id):
            vm = await self._host.store.vms.get(vm_id)
            seen = await self._driver(vm).inspect(handle_of(vm))
            if vm.state is VMState.RUNNING and seen.condition is Condition.PAUSED:
                log.info("%s was left paused: it goes on.", vm_id)
                await self._wake(vm)

    async def _wake(self, vm: VM) -> None:
        """Its processors go on, and its clock is set."""
        await self._driver(vm).resume(handle_of(vm))
        async with self._host.connections.session(replace(vm, state=VMState.RUNNING)) as guest:
            await self._launcher.introduce(vm, guest)

    def _driver(self, vm: VM) -> VMDriver:
        return self._host.drivers.get(vm.driver)

    async def _able(self, vm: VM) -> VMDriver:
        driver = self._driver(vm)
        if Capability.PAUSE not in (await driver.probe()).capabilities:
            raise Unsupported(str(Capability.PAUSE), driver.name)
        return driver
