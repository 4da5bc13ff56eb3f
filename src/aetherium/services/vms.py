"""VMs: make, find, use, pause, fork, end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from aetherium.domain.checks import Check
from aetherium.domain.errors import (
    AetheriumError,
    AlreadyExists,
    Conflict,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unsupported,
)
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.snapshots import Snapshot, SnapshotState
from aetherium.domain.vms import IDLE, VM, VM_LIFECYCLE, Capability, VMMetrics, VMSpec, VMState
from aetherium.interfaces.drivers import Condition, DriverProbe, Launch, SnapshotData, VMDriver, VMHandle
from aetherium.interfaces.guest import Guest
from aetherium.interfaces.pool import HIDDEN_LABELS, VMPool, copied
from aetherium.interfaces.store import Store
from aetherium.services.connections import handle_of
from aetherium.services.diagnosis import diagnose
from aetherium.services.host import Host, remove_vm
from aetherium.services.launching import Launcher, Start, cold
from aetherium.services.power import Power
from aetherium.services.quotas import admit_vms
from aetherium.services.snapshot_files import SnapshotFiles
from aetherium.services.warm import WarmSnapshots

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

Progress = Callable[[str], None]
# How long the guest may take to say how it is.
METRICS_S = 3.0
MOST_FORKS = 256
# How long a row is taken for true between two commands in one VM.
ROW_S = 1.0


def silent(_: str) -> None:
    """For callers that do not show progress."""


class VMService:
    """See the methods. `ref` is an id, a name, or a unique prefix of an id."""

    def __init__(
        self,
        host: Host,
        launcher: Launcher,
        warm: WarmSnapshots,
        pool: VMPool,
        power: Power,
        snapshots: SnapshotFiles,
    ) -> None:
        self._host = host
        self._launcher = launcher
        self._warm = warm
        self._pool = pool
        self._power = power
        self._snapshots = snapshots
        self._rows: dict[str, tuple[datetime, VM]] = {}

    async def create(
        self,
        spec: VMSpec,
        *,
        snapshot: str | None = None,
        project: str = DEFAULT_PROJECT,
        owner: str | None = None,
        progress: Progress = silent,
        pooled: bool = True,
    ) -> VM:
        """A running VM whose agent has answered and which has its identity.

        It comes from the warm pool, else it is forked from a warm snapshot, else it boots.

        Args:
            snapshot: restore this one instead; image, driver and size are the snapshot's.
            project: the id of the one that it belongs to.
            owner: the process that has to live for the VM to live; None: it outlives all.
            pooled: whether it may come from the pool.

        Raises InvalidInput, NotFound (image, snapshot), AlreadyExists (name), LimitExceeded (quota),
        Unsupported, Unavailable, BootFailed. Failed or cancelled: nothing is left.
        """
        if snapshot is not None:
            return await self._from_snapshot(spec, snapshot, project, owner)
        driver, probe = await self._host.drivers.choose(spec.driver)
        digest = (await self._host.images.get(spec.image)).digest
        await self._check_name(spec.name, project)
        await admit_vms(self._host.store, project, [spec])
        if pooled:
            ready = await self._from_pool(spec, driver.name, digest, project, owner)
            if ready is not None:
                return ready
        if self._warm.enabled(probe):
            forked = await self._from_warm(spec, driver, probe, digest, project, owner, progress)
            if forked is not None:
                return forked
        progress("Booting")
        draft = self._launcher.draft(spec, driver.name, digest, project=project)
        return await self._launcher.launch(draft, cold, heir=owner)

    async def get(self, ref: str) -> VM:
        """Raises NotFound."""
        return await self._host.store.vms.find(ref)

    async def id_in(self, project: str, ref: str) -> str:
        """The id of a VM of a project. Raises NotFound."""
        return (await self._host.store.of_project(project).vms.find(ref)).id

    async def list(
        self,
        *,
        states: Collection[VMState] = (),
        labels: Mapping[str, str] | None = None,
        project: str | None = None,
    ) -> Sequence[VM]:
        """Newest first; of one project or of all. VMs that wait in a pool are left out, unless their label is
        asked for."""
        wanted = labels or {}
        store = self._host.store if project is None else self._host.store.of_project(project)
        found = await store.vms.list(states=states, labels=wanted)
        hidden = HIDDEN_LABELS - wanted.keys()
        return [vm for vm in found if not hidden & vm.spec.labels.keys()]

    async def delete(self, ref: str) -> None:
        """In any state. Raises NotFound."""
        await remove_vm(self._host, (await self.get(ref)).id)

    async def stop(self, ref: str, *, grace_s: float | None = None) -> VM:
        """Power off, and end it by force after `grace_s` seconds. Its console can be read until it is
        deleted. Raises InvalidTransition unless it runs or is paused."""
        grace = self._host.settings.stop_grace_s if grace_s is None else grace_s
        return await self._power.stop((await self.get(ref)).id, grace)

    async def pause(self, ref: str) -> VM:
        """Raises InvalidTransition unless it runs; Unsupported."""
        return await self._power.pause((await self.get(ref)).id)

    async def resume(self, ref: str) -> VM:
        """Go on, with the guest's clock stepped to now. Raises InvalidTransition unless it is paused."""
        return await self._power.resume((await self.get(ref)).id)

    async def extend(self, ref: str, ttl_s: float | None) -> VM:
        """It is deleted `ttl_s` seconds from now; None: never."""
        if ttl_s is not None and ttl_s <= 0:
            raise InvalidInput(f"ttl_s is {ttl_s}.", hint="Give seconds above 0.", field="ttl_s")
        now = self._host.clock.now()

        def change(vm: VM) -> VM:
            total = None if ttl_s is None else (now - vm.created_at).total_seconds() + ttl_s
            return replace(vm, spec=replace(vm.spec, ttl_s=total))

        return await self._host.store.vms.edit((await self.get(ref)).id, change)

    async def fork(
        self,
        ref: str,
        count: int = 1,
        *,
        names: Sequence[str] = (),
        labels: Mapping[str, str] = MappingProxyType({}),
    ) -> Sequence[VM]:
        """`count` copies of a running or paused VM as it is now, each with an identity of its own. All or
        none are made, also if this process is killed.

        Args:
            labels: of the copies, beside their parent's.
        """
        if not 1 <= count <= MOST_FORKS:
            raise InvalidInput(f"count is {count}.", hint=f"Use 1 to {MOST_FORKS}.", field="count")
        if names and len(names) != count:
            raise InvalidInput(
                f"{len(names)} names were given for {count} VMs.", hint="Give one for each.", field="names"
            )
        parent = await self.get(ref)
        await self.require(parent, Capability.FORK)
        for name in names:
            await self._check_name(name, parent.project_id)
        labels = {**copied(parent.spec.labels), **labels}
        specs = [replace(parent.spec, name=name, labels=labels) for name in (names or (None,) * count)]
        async with self._power.captured(parent.id) as (data, directory):
            start = _restore(data, directory)
            drafts = [
                self._launcher.draft(spec, parent.driver, parent.image_digest, project=parent.project_id)
                for spec in specs
            ]
            return await self._launch_all(drafts, start)

    async def metrics(self, ref: str) -> VMMetrics:
        """Live facts, from outside and, if it runs, from inside. Raises Conflict before it was started."""
        vm = await self.get(ref)
        seen = await self._host.drivers.get(vm.driver).inspect(handle_of(vm))
        inside = None
        if vm.state is VMState.RUNNING and seen.condition is Condition.RUNNING:
            try:
                async with asyncio.timeout(METRICS_S), self._host.connections.session(vm) as guest:
                    inside = await guest.metrics()
            except (AetheriumError, TimeoutError) as error:
                log.info("The agent of %s gives no metrics: %s", vm.id, error)
        return VMMetrics(
            vm_id=vm.id,
            condition=str(seen.condition),
            reason=seen.reason,
            cpu_s=seen.cpu_s,
            memory_bytes=seen.memory_bytes,
            disk_bytes=seen.disk_bytes,
            guest=inside,
        )

    async def console(self, ref: str, *, max_bytes: int = 65536) -> bytes:
        """The last bytes of its serial console; also after it ended, until it is deleted."""
        vm = await self.get(ref)
        return await self._host.drivers.get(vm.driver).console(vm.id, max_bytes=max_bytes)

    async def diagnose(self, ref: str) -> Sequence[Check]:
        """Walk the channel to it: process, console, transport, handshake, agent; say where it stops."""
        return await diagnose(self._host, await self.get(ref))

    @asynccontextmanager
    async def guest(self, ref: str) -> AsyncIterator[Guest]:
        """Its agent, over a connection that stays open between uses. Resumes a VM paused by the idle policy.

        Raises Conflict if it does not run, VMCrashed within 2 s of its end, VMUnresponsive.
        """
        async with self.session(ref) as (_, guest):
            yield guest

    @asynccontextmanager
    async def session(self, ref: str) -> AsyncIterator[tuple[VM, Guest]]:
        """Like `guest`, with the VM's row."""
        vm = self._recent(ref)
        if vm is None:
            vm = await self.get(ref)
            if vm.state is VMState.PAUSED and vm.reason == IDLE:
                vm = await self._power.resume_idle(vm.id)
            if vm.state is not VMState.RUNNING:
                raise _not_running(vm)
            self._rows[ref] = (self._host.clock.now(), vm)
        with self._host.activity.using(vm.id):
            async with self._host.connections.session(vm) as guest:
                yield vm, guest

    async def require(self, vm: VM, capability: Capability) -> None:
        """Raise Unsupported unless the VM's driver has it."""
        probe = await self._host.drivers.get(vm.driver).probe()
        if capability not in probe.capabilities:
            raise Unsupported(str(capability), vm.driver)

    def _recent(self, ref: str) -> VM | None:
        """The row of a running VM, if it was read a moment ago and its connection still stands: a command
        takes a millisecond, and reading the row again as long. Whatever this process does to the VM closes
        the connection first; what another one does shows in the connection itself."""
        found = self._rows.get(ref)
        if found is None:
            return None
        at, vm = found
        fresh = (self._host.clock.now() - at).total_seconds() < ROW_S
        if fresh and self._host.connections.connected(vm.id):
            return vm
        del self._rows[ref]
        return None

    async def _check_name(self, name: str | None, project: str) -> None:
        """Refuse a taken name before anything is booted; the store decides in the end."""
        if name is None:
            return
        try:
            vm = await self._host.store.of_project(project).vms.find(name)
        except NotFound:
            return
        if vm.spec.name == name and vm.state not in (VMState.STOPPED, VMState.FAILED):
            raise AlreadyExists(
                f"There is a VM named {name!r} already: {vm.id}.", hint="Choose another name.", name=name
            )

    async def _from_pool(
        self, spec: VMSpec, driver: str, digest: str, project: str, owner: str | None
    ) -> VM | None:
        while (ready := await self._pool.take(spec, driver=driver, image_digest=digest)) is not None:
            if not self._host.connections.connected(ready.id):
                await self._launcher.discard(ready.id)  # it ended while it waited
                continue
            try:
                # The row goes last, in one write: until then the VM is the pool's and goes with this process.
                async with self._host.connections.session(ready) as guest:
                    await self._launcher.introduce(replace(ready, spec=spec), guest)
                vm = await self._claim(ready.id, spec, project, owner)
                if vm is not None:
                    return vm
                await self._launcher.discard(ready.id)  # it ended meanwhile
            except (AlreadyExists, LimitExceeded):
                await self._launcher.discard(ready.id)
                raise
            except AetheriumError as error:
                log.warning("The pooled VM %s is not fit to be handed out: %s", ready.id, error)
                await self._launcher.discard(ready.id)
            except BaseException:
                await self._launcher.discard(ready.id)
                raise
        return None

    async def _claim(self, vm_id: str, spec: VMSpec, project: str, heir: str | None) -> VM | None:
        at = self._host.clock.now()

        async def work(store: Store) -> VM | None:
            await admit_vms(store, project, [spec])
            return await store.vms.claim(
                vm_id, owner=self._host.owner, spec=spec, project=project, heir=heir, at=at
            )

        return await self._host.store.transaction(work)

    async def _from_warm(
        self,
        spec: VMSpec,
        driver: VMDriver,
        probe: DriverProbe,
        digest: str,
        project: str,
        owner: str | None,
        progress: Progress,
    ) -> VM | None:
        """Fork from the warm snapshot, made now if need be. None if that does not work, for whatever reason:
        the VM then boots, and says in its own words if that fails too."""
        draft = self._launcher.draft(spec, driver.name, digest, project=project)
        async with AsyncExitStack() as stack:
            try:
                warm = await stack.enter_async_context(self._warm.use(spec, driver, probe, digest, progress))
            except AetheriumError as error:
                log.warning("There is no warm snapshot: %s", error)
                return None
            try:
                progress("Forking from a warm snapshot")
                return await self._launcher.launch(draft, warm.start(), heir=owner)
            except (AlreadyExists, LimitExceeded, NotFound):
                raise
            except AetheriumError as error:
                log.warning("The warm snapshot %s cannot be used and is removed: %s", warm.key, error)
        await self._warm.forget(warm.key)
        return None

    async def _from_snapshot(self, spec: VMSpec, ref: str, project: str, owner: str | None) -> VM:
        snapshot = await self._host.store.of_project(project).snapshots.find(ref)
        if snapshot.state is not SnapshotState.READY:
            raise Conflict(f"The snapshot {snapshot.id} is {snapshot.state}.", hint="Use one that is ready.")
        fitted = replace(
            spec, image=snapshot.image_digest, driver=snapshot.driver, resources=snapshot.resources
        )
        await self._host.images.get(snapshot.image_digest)  # another host may have made the snapshot
        draft = self._launcher.draft(fitted, snapshot.driver, snapshot.image_digest, project=project)
        draft = replace(draft, snapshot_id=snapshot.id)
        async with self._snapshots.use(snapshot) as directory:
            start = _restore(snapshot_data(snapshot), directory)
            return await self._launcher.launch(draft, start, heir=owner)

    async def _launch_all(self, drafts: Sequence[VM], start: Start) -> Sequence[VM]:
        tasks: Sequence[asyncio.Task[VM]] = ()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._launcher.launch(draft, start, heir=draft.owner))
                    for draft in drafts
                ]
            return await self._hand_out(tasks)
        except BaseException as error:
            for draft in drafts:
                await self._launcher.discard(draft.id)
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from error
            raise

    async def _hand_out(self, tasks: Sequence[asyncio.Task[VM]]) -> Sequence[VM]:
        """Until here all of them would have gone with this process; from here on they outlive it."""

        async def work(store: Store) -> Sequence[VM]:
            return [
                await store.vms.edit(task.result().id, lambda vm: replace(vm, owner=None)) for task in tasks
            ]

        return await self._host.store.transaction(work)


def snapshot_data(snapshot: Snapshot) -> SnapshotData:
    """The driver's part of a row."""
    version, data = snapshot.driver_data.get("version"), snapshot.driver_data.get("data")
    if not isinstance(version, int) or not isinstance(data, dict):
        raise Conflict(f"The snapshot {snapshot.id} has data that this version cannot read.")
    return SnapshotData(snapshot.driver, version, data, snapshot.size_bytes)


def _restore(data: SnapshotData, directory: Path) -> Start:
    async def start(driver: VMDriver, launch: Launch) -> VMHandle:
        return await driver.restore(launch, data, directory)

    return start


def _not_running(vm: VM) -> AetheriumError:
    why = f" ({vm.reason})" if vm.reason else ""
    if vm.state is VMState.PAUSED:
        hint = f"Resume it: aetherium vm resume {vm.id}"
    elif VM_LIFECYCLE.is_final(vm.state):
        hint = f"It does not start again. Remove it (aetherium vm rm {vm.id}) and create another."
    else:
        hint = "Wait until it runs."
    return Conflict(f"The VM {vm.id} is {vm.state}{why}.", hint=hint, state=str(vm.state), vm_id=vm.id)
