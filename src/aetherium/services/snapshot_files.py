"""The files of snapshots: directories of this host and, in a cluster, one object for each snapshot."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Fetched:
    """Another host's snapshot, as long as somebody here restores it."""

    directory: Path
    users: int = 0
    whole: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


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
        self._fetched: dict[str, _Fetched] = {}

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
        """Its files, for the time of the block; fetched if another host has made it, once for all who restore
        it at the same time.

        Raises Conflict where they are nowhere, VMFailed if they came damaged, Unavailable.
        """
        here = self.directory(snapshot.id)
        if self._objects is None or await asyncio.to_thread(here.exists):
            yield here
            return
        fetched = self._fetched.setdefault(snapshot.id, _Fetched(self._scratch(snapshot.id)))
        fetched.users += 1
        try:
            async with fetched.lock:
                if not fetched.whole:
                    await _fetch(self._objects, snapshot.id, fetched.directory)
                    fetched.whole = True
            yield fetched.directory
        finally:
            fetched.users -= 1
            if not fetched.users:
                del self._fetched[snapshot.id]
                await finish(_removed(fetched.directory))

    async def remove(self, snapshot_id: str) -> None:
        """All of it; an object that cannot be removed now is swept later. Idempotent."""
        await _removed(self.directory(snapshot_id))
        if self._objects is not None:
            try:
                await self._objects.remove(key_of(snapshot_id))
            except Unavailable as error:
                log.warning("The files of %s are removed later: %s", snapshot_id, error)

    def _scratch(self, snapshot_id: str) -> Path:
        """A place that is removed if this process is killed."""
        return self._data_dir / "forks" / f"{self._owner}.{snapshot_id}.{secrets.token_hex(4)}"


async def _fetch(objects: ObjectStore, snapshot_id: str, directory: Path) -> None:
    try:
        async with aclosing(objects.get(key_of(snapshot_id))) as pieces:
            await unpack(pieces, directory)
    except BaseException as error:
        await finish(_removed(directory))
        if isinstance(error, NotFound):
            raise Conflict(
                f"The files of the snapshot {snapshot_id} are neither here nor in the object store.",
                hint="It can be restored where it was made, if at all.",
            ) from error
        raise


async def _removed(directory: Path) -> None:
    await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


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
