"""VMs of workers, as VMService has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Protocol

from aetherium.domain.checks import Check
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.vms import VM, VMMetrics, VMSpec, VMState
from aetherium.gateway.remote.guest import RemoteGuest
from aetherium.gateway.remote.places import Places
from aetherium.gateway.remote.workers import Workers
from aetherium.interfaces.pool import HIDDEN_LABELS
from aetherium.interfaces.store import Store
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc import convert
from aetherium.services.vms import Progress, silent


class CreateVM(Protocol):
    """Makes VMs, on a worker that it chooses."""

    async def __call__(
        self,
        spec: VMSpec,
        *,
        snapshot: str | None = None,
        project: str = DEFAULT_PROJECT,
        progress: Progress = silent,
    ) -> VM: ...


class RemoteVMs:
    """See VMService. `ref` is an id, a name, or a unique prefix of an id.

    All methods raise Unavailable if the VM's worker is lost.
    """

    def __init__(self, store: Store, places: Places, workers: Workers, create: CreateVM) -> None:
        self._store = store
        self._places = places
        self._workers = workers
        self._create = create

    async def create(
        self,
        spec: VMSpec,
        *,
        snapshot: str | None = None,
        project: str = DEFAULT_PROJECT,
        progress: Progress = silent,
    ) -> VM:
        """A running VM whose agent has answered."""
        return await self._create(spec, snapshot=snapshot, project=project, progress=progress)

    async def get(self, ref: str) -> VM:
        """Raises NotFound."""
        return await self._store.vms.find(ref)

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
        store = self._store if project is None else self._store.of_project(project)
        found = await store.vms.list(states=states, labels=wanted)
        hidden = HIDDEN_LABELS - wanted.keys()
        return [vm for vm in found if not hidden & vm.spec.labels.keys()]

    async def delete(self, ref: str) -> None:
        """In any state. Raises NotFound."""
        place = await self._places.vm(ref)
        request = pb.DeleteVMRequest(vm_id=place.id)
        await self._workers.delete(place.worker_id, lambda stub: stub.DeleteVM, request)

    async def stop(self, ref: str, *, grace_s: float | None = None) -> VM:
        """Power off, and end it by force after `grace_s` seconds."""
        place = await self._places.vm(ref)
        request = pb.StopVMRequest(vm_id=place.id, grace_s=grace_s)
        await self._workers.call_once(place.worker_id, lambda stub: stub.StopVM, request)
        return await self._store.vms.get(place.id)

    async def pause(self, ref: str) -> VM:
        """Raises InvalidTransition unless it runs; Unsupported."""
        place = await self._places.vm(ref)
        request = pb.PauseVMRequest(vm_id=place.id)
        await self._workers.call_once(place.worker_id, lambda stub: stub.PauseVM, request)
        return await self._store.vms.get(place.id)

    async def resume(self, ref: str) -> VM:
        """Go on. Raises InvalidTransition unless it is paused."""
        place = await self._places.vm(ref)
        request = pb.ResumeVMRequest(vm_id=place.id)
        await self._workers.call_once(place.worker_id, lambda stub: stub.ResumeVM, request)
        return await self._store.vms.get(place.id)

    async def extend(self, ref: str, ttl_s: float | None) -> VM:
        """It is deleted `ttl_s` seconds from now; None: never."""
        place = await self._places.vm(ref)
        request = pb.ExtendVMRequest(vm_id=place.id, ttl_s=ttl_s)
        await self._workers.call(place.worker_id, lambda stub: stub.ExtendVM, request)
        return await self._store.vms.get(place.id)

    async def fork(
        self,
        ref: str,
        count: int = 1,
        *,
        names: Sequence[str] = (),
        labels: Mapping[str, str] = MappingProxyType({}),
    ) -> Sequence[VM]:
        """`count` copies as it is now, on the same worker. All or none are made."""
        place = await self._places.vm(ref)
        with convert.sending():
            request = pb.ForkVMRequest(vm_id=place.id, count=count, names=names, labels=labels)
        made = await self._workers.call_once(place.worker_id, lambda stub: stub.ForkVM, request)
        return [await self._store.vms.get(vm_id) for vm_id in made.vm_ids]

    async def metrics(self, ref: str) -> VMMetrics:
        """Live facts, from outside and, if it runs, from inside."""
        place = await self._places.vm(ref)
        request = pb.GetMetricsRequest(vm_id=place.id)
        found = await self._workers.call(place.worker_id, lambda stub: stub.GetMetrics, request)
        return convert.metrics_from_pb(found.metrics)

    async def console(self, ref: str, *, max_bytes: int = 65536) -> bytes:
        """The last bytes of its serial console."""
        place = await self._places.vm(ref)
        with convert.sending():
            request = pb.GetConsoleRequest(vm_id=place.id, max_bytes=max_bytes)
        return (await self._workers.call(place.worker_id, lambda stub: stub.GetConsole, request)).data

    async def diagnose(self, ref: str) -> Sequence[Check]:
        """Walk the channel from its worker to it; say where it stops."""
        place = await self._places.vm(ref)
        request = pb.DiagnoseVMRequest(vm_id=place.id)
        found = await self._workers.call(place.worker_id, lambda stub: stub.DiagnoseVM, request)
        return [convert.check_from_pb(check) for check in found.checks]

    @asynccontextmanager
    async def guest(self, ref: str) -> AsyncIterator[RemoteGuest]:
        """Its files. Unlike VMService's, whether it runs shows in the first call only."""
        yield RemoteGuest(self._workers, await self._places.vm(ref))
