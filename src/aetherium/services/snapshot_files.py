"""The files of snapshots: directories of this host and, in a cluster, one object for each snapshot."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from aetherium.domain.errors import Conflict, NotFound, Unavailable
from aetherium.domain.ids import SNAPSHOT, check_id
from aetherium.domain.snapshots import Snapshot
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.objects import ObjectStore
from aetherium.interfaces.store import Store
from aetherium.services.packing import packed, unpack

log = logging.getLogger(__name__)

FOLDER = "snapshots"


def key_of(snapshot_id: str) -> str:
    """The object that a snapshot is."""
    return f"{FOLDER}/{check_id(snapshot_id, SNAPSHOT)}"


class SnapshotFiles:
    """Those that this host has made, and those that it can get.

    Args:
        data_dir: has ``snapshots/ID``, which the snapshot's end removes, and ``forks``, which is swept.
        owner: this process, see worker/owners.py.
        objects: where the snapshots of a cluster are; None: they stay on this host.
    """

    def __init__(self, data_dir: Path, owner: str, objects: ObjectStore | None = None) -> None:
        self._data_dir = data_dir
        self._owner = owner
        self._objects = objects

    def directory(self, snapshot_id: str) -> Path:
        """Where it is made."""
        return self._data_dir / "snapshots" / snapshot_id

    async def share(self, snapshot_id: str) -> bool:
        """Bring it where all hosts reach it; whether there is such a place. Raises Unavailable."""
        if self._objects is None:
            return False
        async with aclosing(packed(self.directory(snapshot_id))) as pieces:
            await self._objects.put(key_of(snapshot_id), pieces)
        return True

    @asynccontextmanager
    async def use(self, snapshot: Snapshot) -> AsyncIterator[Path]:
        """Its files, for the time of the block; fetched if another host has made it.

        Raises Conflict where they are nowhere, VMFailed if they came damaged, Unavailable.
        """
        here = self.directory(snapshot.id)
        if self._objects is None or await asyncio.to_thread(here.exists):
            yield here
            return
        fetched = self._data_dir / "forks" / f"{self._owner}.{snapshot.id}.{secrets.token_hex(4)}"
        try:
            await self._fetch(self._objects, snapshot.id, fetched)
            yield fetched
        finally:
            await finish(asyncio.to_thread(shutil.rmtree, fetched, ignore_errors=True))

    async def remove(self, snapshot_id: str) -> None:
        """All of it; an object that cannot be removed now is swept later. Idempotent."""
        await asyncio.to_thread(shutil.rmtree, self.directory(snapshot_id), ignore_errors=True)
        if self._objects is not None:
            try:
                await self._objects.remove(key_of(snapshot_id))
            except Unavailable as error:
                log.warning("The files of %s are removed later: %s", snapshot_id, error)

    async def _fetch(self, objects: ObjectStore, snapshot_id: str, directory: Path) -> None:
        try:
            async with aclosing(objects.get(key_of(snapshot_id))) as pieces:
                await unpack(pieces, directory)
        except NotFound as error:
            raise Conflict(
                f"The files of the snapshot {snapshot_id} are neither here nor in the object store.",
                hint="It can be restored where it was made, if at all.",
            ) from error


async def sweep_snapshots(store: Store, objects: ObjectStore) -> int:
    """Remove the objects of snapshots that there are not; how many these were. Rows are written before
    objects, and the objects are looked at before the rows, so one that is being made is none of these."""
    found = [info.key for info in await objects.list(FOLDER)]
    known = {key_of(each.id) for each in await store.snapshots.list()} if found else set()
    left = [key for key in found if key not in known]
    for key in left:
        log.info("The object %s belongs to no snapshot: it is removed.", key)
        await objects.remove(key)
    return len(left)
