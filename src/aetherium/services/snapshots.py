"""Snapshots of VMs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from aetherium.domain.errors import AlreadyExists, Conflict, InvalidInput, InvalidTransition, NotFound
from aetherium.domain.ids import SNAPSHOT, new_id
from aetherium.domain.snapshots import Snapshot, SnapshotState
from aetherium.domain.vms import Capability
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.pool import copied
from aetherium.services.host import LIVE, Host
from aetherium.services.power import Power
from aetherium.services.snapshot_files import SnapshotFiles
from aetherium.services.vms import VMService

_NAME = re.compile(r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")


class SnapshotService:
    """Memory, disk and devices of a VM, kept to be restored (VMService.create) any number of times."""

    def __init__(self, host: Host, vms: VMService, power: Power, files: SnapshotFiles) -> None:
        self._host = host
        self._vms = vms
        self._power = power
        self._files = files

    async def create(
        self, vm: str, *, name: str | None = None, labels: Mapping[str, str] = MappingProxyType({})
    ) -> Snapshot:
        """Of a running or paused VM, which then goes on. In a cluster it is in the object store when it is
        ready, and outlives its worker.

        Args:
            labels: beside those of the VM.

        Raises Conflict if it does not run, or if a command that was given secrets runs in it: they would be
        in the snapshot's memory. AlreadyExists for the name; Unsupported.
        """
        if name is not None and not _NAME.match(name):
            raise InvalidInput(
                f"The snapshot name {name!r} cannot be used.",
                hint="Use 1 to 63 lower-case letters, digits, '.', '_' and '-'.",
                field="name",
            )
        row = await self._vms.get(vm)
        await self._vms.require(row, Capability.SNAPSHOT)
        if row.state not in LIVE:
            raise Conflict(f"The VM {row.id} is {row.state}.", hint="Only one that runs has a state to keep.")
        snapshot = Snapshot(
            id=new_id(SNAPSHOT),
            name=name,
            vm_id=row.id,
            driver=row.driver,
            image_digest=row.image_digest,
            resources=row.spec.resources,
            state=SnapshotState.CREATING,
            created_at=self._host.clock.now(),
            labels={**copied(row.spec.labels), **labels},
            owner=self._host.owner,
            project_id=row.project_id,
        )
        await self._check_name(name, row.project_id)
        try:
            await self._host.store.snapshots.add(snapshot)
            await self._host.images.hold(row.image_digest, snapshot.id)
            data = await self._power.capture(row.id, self._files.directory(snapshot.id))
            return await self._host.store.snapshots.transition(
                snapshot.id,
                SnapshotState.READY,
                driver_data={
                    "version": data.version,
                    "data": dict(data.data),
                    "machine": await self._share(snapshot),
                },
                size_bytes=data.size_bytes,
                owner=None,
            )
        except BaseException:
            await finish(self.remove(snapshot))
            raise

    async def get(self, ref: str) -> Snapshot:
        """By id, name or unique prefix of an id. Raises NotFound."""
        return await self._host.store.snapshots.find(ref)

    async def list(self) -> Sequence[Snapshot]:
        """Newest first."""
        return await self._host.store.snapshots.list()

    async def delete(self, ref: str) -> None:
        """VMs that were restored from it go on. Raises NotFound; Conflict while it is being made."""
        snapshot = await self.get(ref)
        if snapshot.state is SnapshotState.CREATING:
            raise Conflict(f"The snapshot {snapshot.id} is still being made.", hint="Wait until it is ready.")
        await finish(self.remove(snapshot))

    async def remove(self, snapshot: Snapshot) -> None:
        """All of it, in whatever state."""
        snapshots = self._host.store.snapshots
        try:
            if snapshot.state is SnapshotState.CREATING:
                await snapshots.transition(snapshot.id, SnapshotState.FAILED, owner=self._host.owner)
            await snapshots.transition(snapshot.id, SnapshotState.DELETING, owner=self._host.owner)
        except InvalidTransition:
            pass  # it is being deleted already; doing it twice does no harm
        except NotFound:
            return
        await self._files.remove(snapshot.id)
        await self._host.images.release(snapshot.image_digest, snapshot.id)
        await snapshots.remove(snapshot.id)

    async def _share(self, snapshot: Snapshot) -> str:
        """Bring it where other hosts find it, if there is such a place and they could use it: see
        `Snapshot.machine`. The VM goes on meanwhile."""
        machine = (await self._host.drivers.get(snapshot.driver).probe()).machine
        return machine if machine and await self._files.share(snapshot.id) else ""

    async def _check_name(self, name: str | None, project: str) -> None:
        known = self._host.store.of_project(project).snapshots
        if name is not None and any(each.name == name for each in await known.list()):
            raise AlreadyExists(
                f"There is a snapshot named {name!r} already.", hint="Choose another name.", name=name
            )
