"""What time does to VMs: the end of their TTL, the idle policy, and noticing what has ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

from aetherium.domain.errors import AetheriumError, InvalidTransition, NotFound
from aetherium.domain.vms import IDLE, VM, VMState
from aetherium.interfaces.pool import HIDDEN_LABELS
from aetherium.services.host import LIVE, Host, remove_vm
from aetherium.services.power import Power
from aetherium.services.settling import Settler

log = logging.getLogger(__name__)

# Running executions keep a VM from being idle; how they are is asked of the guests this often, in seconds.
_LOOK_S = 2.0


class Reaper:
    """Looks at all VMs again and again."""

    def __init__(self, host: Host, power: Power, settler: Settler) -> None:
        self._host = host
        self._power = power
        self._settler = settler
        self._looked: datetime | None = None
        self._busy: frozenset[str] = frozenset()

    async def note(self) -> None:
        """Write down, every now and then, what this process uses; until cancelled."""
        while True:
            await self._host.clock.sleep(self._host.settings.reap_interval_s)
            try:
                await self._host.activity.flush()
            except AetheriumError as error:
                log.warning("The use of VMs cannot be recorded now: %s", error)

    async def run(self) -> None:
        """Until cancelled. A look that fails is repeated with the next one."""
        while True:
            try:
                await self.look()
            except AetheriumError as error:
                log.warning("VMs cannot be looked at now: %s", error)
            await self._host.clock.sleep(self._host.settings.reap_interval_s)

    async def look(self) -> None:
        """Once over everything."""
        await self._host.activity.flush()
        rows = await self._host.store.vms.list()
        await self._follow(rows)
        now = self._host.clock.now()
        for vm in rows:
            if vm.state not in LIVE:
                continue
            if vm.handle is not None:
                self._host.connections.watch(vm)
            await self._act(vm, now)

    async def expire(self, vm: VM, now: datetime) -> bool:
        """Delete it if its TTL is over; whether it was."""
        if vm.expires_at is None or now.timestamp() < vm.expires_at:
            return False
        log.info("The TTL of %s is over.", vm.id)
        await remove_vm(self._host, vm.id)
        return True

    async def _act(self, vm: VM, now: datetime) -> None:
        if HIDDEN_LABELS & vm.spec.labels.keys():
            return
        try:
            if not await self.expire(vm, now) and self._idle(vm, now):
                await self._put_aside(vm)
        except (NotFound, InvalidTransition):
            return  # somebody else did something with it meanwhile
        except AetheriumError as error:
            log.warning("The policy of %s cannot be carried out now: %s", vm.id, error)

    def _idle(self, vm: VM, now: datetime) -> bool:
        limit = vm.spec.idle_timeout_s
        if limit is None or vm.state is not VMState.RUNNING:
            return False
        if vm.id in self._busy or self._host.activity.in_use(vm.id):
            return False
        return (now - vm.last_active_at).total_seconds() >= limit

    async def _put_aside(self, vm: VM) -> None:
        # Looked at once more: an execution may have been started by another process since.
        if await self._settler.refresh(vm):
            await self._host.store.vms.touch({vm.id: self._host.clock.now()})
            return
        log.info("%s is idle: %s.", vm.id, vm.spec.idle_action)
        if vm.spec.idle_action == "delete":
            await remove_vm(self._host, vm.id)
        else:
            await self._power.pause(vm.id, reason=IDLE)

    async def _follow(self, rows: Sequence[VM]) -> None:
        """Record the ends of executions that nobody waits for, and which VMs are busy."""
        now = self._host.clock.now()
        if self._looked is not None and (now - self._looked).total_seconds() < _LOOK_S:
            return
        self._looked = now
        unfinished = await self._host.store.executions.busy()
        found = [vm for vm in rows if vm.id in unfinished]
        running = await asyncio.gather(*(self._settler.refresh(vm) for vm in found))
        busy = {vm.id for vm, count in zip(found, running, strict=True) if count}
        self._busy = frozenset(busy)
        await self._host.store.vms.touch(dict.fromkeys(busy, now))
