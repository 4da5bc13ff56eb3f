"""VMs, their files and their snapshots."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aetherium.domain.checks import Check
from aetherium.domain.snapshots import Snapshot, SnapshotState
from aetherium.domain.vms import VM, VMMetrics, VMSpec, VMState
from aetherium.gateway.access.access import Access, refuse_reserved
from aetherium.gateway.access.files import Files
from aetherium.gateway.access.rules import guards, opens
from aetherium.interfaces.pool import REQUEST_LABEL
from aetherium.services.host import LIVE
from aetherium.services.vms import Progress, silent

if TYPE_CHECKING:
    from aetherium.gateway.remote.snapshots import RemoteSnapshots
    from aetherium.gateway.remote.vms import RemoteVMs
    from aetherium.services.snapshots import SnapshotService
    from aetherium.services.vms import VMService


class VMs:
    """See VMService."""

    def __init__(self, access: Access, inner: VMService | RemoteVMs) -> None:
        self._access = access
        self._inner = inner

    @guards("vms:write", "vm.create")
    async def create(
        self, spec: VMSpec, *, snapshot: str | None = None, progress: Progress = silent, mark: str = ""
    ) -> VM:
        """Of a request with a `mark` (see Begun), the VM that it has made already, though its gateway was
        killed before it could say so."""
        refuse_reserved(spec.labels)
        label = _label(mark)
        if made := await self._made(label):
            return made[0]
        spec = spec.with_labels(label)
        source = None if snapshot is None else await self._access.snapshot(snapshot)
        vm = await self._inner.create(spec, snapshot=source, project=self._access.project, progress=progress)
        self._access.note(vm.id)
        return vm

    async def _made(self, label: Mapping[str, str]) -> Sequence[VM]:
        """What an earlier request has made; nothing that is being made, or that goes with who began it."""
        if not label:
            return ()
        found = await self._inner.list(states=LIVE, labels=label, project=self._access.project)
        return [vm for vm in found if vm.owner is None]

    @guards("vms:read")
    async def get(self, ref: str) -> VM:
        return await self._inner.get(await self._access.vm(ref))

    @guards("vms:read")
    async def list(
        self, *, states: Collection[VMState] = (), labels: Mapping[str, str] | None = None
    ) -> Sequence[VM]:
        return await self._inner.list(states=states, labels=labels, project=self._access.caller.project_id)

    @guards("vms:write", "vm.delete")
    async def delete(self, ref: str) -> None:
        await self._inner.delete(await self._access.vm(ref))

    @guards("vms:write", "vm.stop")
    async def stop(self, ref: str, *, grace_s: float | None = None) -> VM:
        return await self._inner.stop(await self._access.vm(ref), grace_s=grace_s)

    @guards("vms:write", "vm.pause")
    async def pause(self, ref: str) -> VM:
        return await self._inner.pause(await self._access.vm(ref))

    @guards("vms:write", "vm.resume")
    async def resume(self, ref: str) -> VM:
        return await self._inner.resume(await self._access.vm(ref))

    @guards("vms:write", "vm.extend")
    async def extend(self, ref: str, ttl_s: float | None) -> VM:
        return await self._inner.extend(await self._access.vm(ref), ttl_s)

    @guards("vms:write", "vm.fork")
    async def fork(
        self, ref: str, count: int = 1, *, names: Sequence[str] = (), mark: str = ""
    ) -> Sequence[VM]:
        """With a `mark` as in `create`."""
        label = _label(mark)
        parent = await self._access.vm(ref)
        if made := await self._made(label):
            return sorted(made, key=lambda vm: vm.created_at)
        made = await self._inner.fork(parent, count, names=names, labels=label)
        for vm in made:
            self._access.note(vm.id)
        return made

    @guards("vms:read")
    async def metrics(self, ref: str) -> VMMetrics:
        return await self._inner.metrics(await self._access.vm(ref))

    @guards("vms:read")
    async def console(self, ref: str, *, max_bytes: int = 65536) -> bytes:
        return await self._inner.console(await self._access.vm(ref), max_bytes=max_bytes)

    @guards("vms:read")
    async def diagnose(self, ref: str) -> Sequence[Check]:
        return await self._inner.diagnose(await self._access.vm(ref))

    @opens("files:read")
    @asynccontextmanager
    async def guest(self, ref: str) -> AsyncIterator[Files]:
        """Its files."""
        vm_id = await self._access.vm(ref)
        async with self._inner.guest(vm_id) as guest:
            yield Files(self._access, guest, vm_id)


class Snapshots:
    """See SnapshotService."""

    def __init__(self, access: Access, inner: SnapshotService | RemoteSnapshots) -> None:
        self._access = access
        self._inner = inner

    @guards("snapshots:write", "snapshot.create")
    async def create(self, vm: str, *, name: str | None = None, mark: str = "") -> Snapshot:
        """With a `mark` as in VMs.create."""
        label = _label(mark)
        vm_id = await self._access.vm(vm)
        for known in await self._access.store.snapshots.list() if label else ():
            if known.state is SnapshotState.READY and label.items() <= known.labels.items():
                return known
        made = await self._inner.create(vm_id, name=name, labels=label)
        self._access.note(made.id)
        return made

    @guards("snapshots:read")
    async def get(self, ref: str) -> Snapshot:
        return await self._inner.get(await self._access.snapshot(ref))

    @guards("snapshots:read")
    async def list(self) -> Sequence[Snapshot]:
        return await self._access.store.snapshots.list()

    @guards("snapshots:write", "snapshot.delete")
    async def delete(self, ref: str) -> None:
        await self._inner.delete(await self._access.snapshot(ref))


def _label(mark: str) -> Mapping[str, str]:
    """By which what a request has made is found; none without a mark."""
    return {REQUEST_LABEL: mark} if mark else {}
