"""Snapshots on workers, as SnapshotService has them."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.domain.snapshots import Snapshot
from aetherium.gateway.remote.places import Places, place_of
from aetherium.gateway.remote.workers import Workers
from aetherium.interfaces.store import Store
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc import convert


class RemoteSnapshots:
    """See SnapshotService. All methods raise Unavailable if the worker is lost."""

    def __init__(self, store: Store, places: Places, workers: Workers) -> None:
        self._store = store
        self._places = places
        self._workers = workers

    async def create(self, vm: str, *, name: str | None = None) -> Snapshot:
        """Of a running or paused VM, which then goes on; it stays on the VM's worker."""
        place = await self._places.vm(vm)
        with convert.sending():
            request = pb.CreateSnapshotRequest(vm_id=place.id, name=name)
        made = await self._workers.call_once(place.worker_id, lambda stub: stub.CreateSnapshot, request)
        return await self._store.snapshots.get(made.snapshot_id)

    async def get(self, ref: str) -> Snapshot:
        """By id, name or unique prefix of an id. Raises NotFound."""
        return await self._store.snapshots.find(ref)

    async def list(self) -> Sequence[Snapshot]:
        """Newest first."""
        return await self._store.snapshots.list()

    async def delete(self, ref: str) -> None:
        """VMs that were restored from it go on. Raises NotFound; Conflict while it is being made."""
        place = place_of(await self._store.snapshots.find(ref))
        request = pb.DeleteSnapshotRequest(snapshot_id=place.id)
        await self._workers.delete(place.worker_id, lambda stub: stub.DeleteSnapshot, request)
