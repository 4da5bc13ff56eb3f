"""From a row to a running VM that knows who it is."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from aetherium.domain.errors import AetheriumError, BootFailed, GuestError, NotFound
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.ids import EXECUTION, new_id
from aetherium.domain.ids import VM as VM_PREFIX
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.vms import VM, Capability, VMSpec, VMState
from aetherium.interfaces.drivers import Launch, VMDriver, VMHandle
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.guest import Guest
from aetherium.interfaces.store import Store
from aetherium.services.connections import handle_data
from aetherium.services.guest_identity import identity
from aetherium.services.host import Host, remove_vm
from aetherium.services.quotas import admit_vms

log = logging.getLogger(__name__)

Start = Callable[[VMDriver, Launch], Awaitable[VMHandle]]

# A command that does nothing, run once where a snapshot is taken or a VM waits: what every command needs is
# then in the guest's page cache and in the emulator's translation cache.
_NOTHING = ExecutionSpec(argv=("true",), timeout_s=30.0)


async def cold(driver: VMDriver, launch: Launch) -> VMHandle:
    """Boot."""
    return await driver.start(launch)


class Launcher:
    """Makes VMs. The row goes first, owned by this process until the VM is handed out, so that whatever
    happens, somebody removes what was begun."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def draft(
        self,
        spec: VMSpec,
        driver: str,
        image_digest: str,
        *,
        project: str = DEFAULT_PROJECT,
        labels: Mapping[str, str] | None = None,
    ) -> VM:
        """A row for a VM that is to be made."""
        now = self._host.clock.now()
        return VM(
            id=new_id(VM_PREFIX),
            spec=spec if labels is None else replace(spec, labels={**spec.labels, **labels}),
            state=VMState.CREATING,
            driver=driver,
            image_digest=image_digest,
            created_at=now,
            updated_at=now,
            last_active_at=now,
            owner=self._host.owner,
            project_id=project,
        )

    async def launch(self, draft: VM, start: Start, *, heir: str | None) -> VM:
        """Bring it up: running, answering, with its identity; then it is `heir`'s.

        Raises what the driver raises, LimitExceeded (quota) and BootFailed. Failed or cancelled: nothing is
        left, no row either.
        """
        host = self._host
        host.making.add(draft.id)
        try:
            await host.store.transaction(lambda store: _add(store, draft))
            await host.images.hold(draft.image_digest, draft.id)
            launch = Launch(
                draft.id,
                await host.images.paths(draft.image_digest),
                draft.spec.resources,
                draft.spec.network,
            )
            driver = host.drivers.get(draft.driver)
            with host.drivers.starting(draft.driver):
                handle = await start(driver, launch)
            guest = await host.connections.open(draft.id, handle, timeout_s=host.settings.boot_timeout_s)
            await self.introduce(draft, guest)
            return await host.store.vms.transition(
                draft.id,
                VMState.RUNNING,
                handle=handle_data(handle),
                owner=heir,
                last_active_at=host.clock.now(),
            )
        except BaseException:
            await finish(self.discard(draft.id))
            raise
        finally:
            host.making.discard(draft.id)

    async def introduce(self, vm: VM, guest: Guest) -> None:
        """Give the guest its identity, time and randomness; on return it has answered. Raises BootFailed: it
        is not handed out then."""
        probe = await self._host.drivers.get(vm.driver).probe()
        alone = Capability.HARDWARE_ISOLATION in probe.capabilities
        if not alone and "init" not in guest.info.capabilities:
            # A process beside others (the fake driver's) must leave its host's identity alone.
            await guest.ping()
            return
        try:
            await guest.identify(identity(vm, self._host.clock))
        except GuestError as error:
            raise BootFailed(f"The VM {vm.id} did not take its identity: {error.message}") from error

    async def settle(self, guest: Guest) -> None:
        """Run a command that does nothing; an image that has none is as good."""
        execution_id = new_id(EXECUTION)
        await guest.run(execution_id, _NOTHING)
        with suppress(GuestError):  # it is only to save memory in the guest
            await guest.forget(execution_id)

    async def discard(self, vm_id: str) -> None:
        """Remove what there is of a VM; what cannot be removed now is left to the next reconciliation."""
        try:
            await remove_vm(self._host, vm_id)
        except NotFound:
            return  # deleted by somebody else meanwhile
        except AetheriumError as error:
            log.warning("The VM %s could not be removed and will be later: %s", vm_id, error)


async def _add(store: Store, draft: VM) -> None:
    """In one transaction, so that of two that are made at once, and fit only alone, one is refused."""
    await admit_vms(store, draft.project_id, [draft.spec])
    await store.vms.add(draft)
