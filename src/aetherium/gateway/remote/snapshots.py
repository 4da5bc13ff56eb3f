"""Snapshots on workers, as SnapshotService has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

from aetherium.domain.errors import InvalidTransition, NotFound, Unavailable
from aetherium.domain.snapshots import Snapshot, SnapshotState
from aetherium.gateway.remote.places import Places, place_of
from aetherium.gateway.remote.workers import Workers
from aetherium.interfaces.store import Store
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc import convert

Forget = Callable[[str], Awaitable[None]]


async def nothing_to_forget(_: str) -> None:
    """For workers without an object store."""


class RemoteSnapshots:
    """See SnapshotService. All methods raise Unavailable if the worker is lost and they need it.

    Args:
        forget: removes what the object store has of a snapshot, by its id.
    """

    def __init__(self, store: Store, places: Places, workers: Workers, forget: Forget) -> None:
        self._store = store
        self._places = places
        self._workers = workers
        self._forget = forget

    async def create(
        self, vm: str, *, name: str | None = None, labels: Mapping[str, str] = MappingProxyType({})
    ) -> Snapshot:
        """Of a running or paused VM, which then goes on."""
        place = await self._places.vm(vm)
        with convert.sending():
            request = pb.CreateSnapshotRequest(vm_id=place.id, name=name, labels=labels)
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
        snapshot = await self._store.snapshots.find(ref)
        place = place_of(snapshot)
        request = pb.DeleteSnapshotRequest(snapshot_id=place.id)
        try:
            await self._workers.delete(place.worker_id, lambda stub: stub.DeleteSnapshot, request)
        except (Unavailable, NotFound):
            if not snapshot.machine:
                raise
            # Its worker, should it come back, removes what is of no snapshot.
            await self._remove(snapshot.id)

    async def _remove(self, snapshot_id: str) -> None:
        with suppress(InvalidTransition):  # it is being deleted already
            await self._store.snapshots.transition(snapshot_id, SnapshotState.DELETING)
        await self._forget(snapshot_id)
        await self._store.snapshots.remove(snapshot_id)
