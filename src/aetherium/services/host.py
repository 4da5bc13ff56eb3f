"""What the services of one process share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from aetherium.domain.errors import InvalidTransition, NotFound
from aetherium.domain.vms import VMState
from aetherium.interfaces.clock import Clock
from aetherium.interfaces.drivers import Condition, Inspection
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.images import ImageStore
from aetherium.interfaces.store import Store
from aetherium.services.activity import Activity
from aetherium.services.connections import Connections, handle_of
from aetherium.services.drivers import Drivers
from aetherium.services.journal import ExecutionJournal
from aetherium.services.locks import FileLocks
from aetherium.settings import Settings

LIVE = frozenset({VMState.RUNNING, VMState.PAUSED})


@dataclass(frozen=True, slots=True)
class Host:
    """The parts that the services work with.

    Args:
        owner: this process, as rows name it; see worker/owners.py.
        locks: over the VMs of this host.
        group: owns what runs in the background; everything in it is cancelled when the platform closes.
        making: ids of the VMs that this process is making.
    """

    settings: Settings
    store: Store
    images: ImageStore
    drivers: Drivers
    clock: Clock
    owner: str
    locks: FileLocks
    connections: Connections
    activity: Activity
    journal: ExecutionJournal
    group: asyncio.TaskGroup
    making: set[str] = field(default_factory=set)


async def record_end(store: Store, drivers: Drivers, clock: Clock, vm_id: str, end: Inspection) -> None:
    """A VM has ended by itself: its row says so, its executions are lost, and a process that is left of one
    whose kernel panicked is ended. One that powered itself off has not failed."""
    reason = end.reason or f"the VM's process is {end.condition}"
    state = VMState.STOPPED if end.orderly else VMState.FAILED
    try:
        vm = await store.vms.transition(vm_id, state, only_from=LIVE, reason=reason)
    except (NotFound, InvalidTransition):
        return  # somebody stops or deletes it, and will say so
    await store.executions.lose(vm_id, clock.now())
    if end.condition is Condition.PANICKED:
        await drivers.get(vm.driver).stop(handle_of(vm))


async def remove_vm(host: Host, vm_id: str) -> None:
    """Delete a VM in whatever state, and all that it has on this host. Raises NotFound without a row.

    Once begun it goes on to its end, over cancellation too; if the process is killed, the next one goes on.
    """
    await finish(_remove(host, vm_id))


async def _remove(host: Host, vm_id: str) -> None:
    async with host.locks.hold(vm_id):
        vm = await host.store.vms.get(vm_id)
        driver = host.drivers.get(vm.driver)
        try:
            await host.store.vms.transition(
                vm_id, VMState.STOPPING, owner=host.owner, reason="it is being deleted"
            )
        except InvalidTransition:
            await host.store.vms.edit(vm_id, lambda row: replace(row, owner=host.owner))
        await host.connections.drop(vm_id)
        await driver.delete(vm_id)
        await host.images.release(vm.image_digest, vm_id)
        await host.store.vms.remove(vm_id)
