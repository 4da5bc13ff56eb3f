"""The SnapshotRepository in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import AlreadyExists, Conflict, NotFound
from aetherium.domain.snapshots import SNAPSHOT_LIFECYCLE, Snapshot, SnapshotState
from aetherium.domain.vms import Resources
from aetherium.interfaces.store import SnapshotFields, SnapshotRepository
from aetherium.storage.codec import dump, load
from aetherium.storage.database import Database
from aetherium.storage.finding import find_id
from aetherium.storage.scope import EVERYTHING, Scope, seen, stamped
from aetherium.storage.tables import snapshots


class SqlSnapshots:
    """See interfaces/store.py."""

    def __init__(self, database: Database, scope: Scope = EVERYTHING) -> None:
        self._database = database
        self._scope = scope
        self._seen = seen(snapshots, scope)
        # Those of other workers, too: they may be restored here.
        self._found = seen(snapshots, scope.of_project)

    async def add(self, snapshot: Snapshot) -> None:
        row = stamped(_values(snapshot), self._scope)
        try:
            await self._database.write(lambda c: c.execute(sa.insert(snapshots).values(row)))
        except IntegrityError as error:
            raise AlreadyExists(
                f"There is a snapshot named {snapshot.name!r} already.",
                hint="Choose another name, or delete that snapshot.",
                name=snapshot.name,
            ) from error

    async def get(self, snapshot_id: str) -> Snapshot:
        return await self._database.read(lambda c: self._get(c, snapshot_id, self._seen))

    async def find(self, ref: str) -> Snapshot:
        async def work(connection: AsyncConnection) -> Snapshot:
            snapshot_id = await find_id(
                connection, snapshots, "snapshot", ref, snapshots.c.name == ref, among=self._found
            )
            return await self._get(connection, snapshot_id, self._found)

        return await self._database.read(work)

    async def list(self) -> Sequence[Snapshot]:
        newest_first = (snapshots.c.created_at.desc(), snapshots.c.id.desc())
        query = sa.select(snapshots).where(self._seen).order_by(*newest_first)

        async def work(connection: AsyncConnection) -> Sequence[Snapshot]:
            return [_snapshot(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)

    async def transition(
        self, snapshot_id: str, to: SnapshotState, **fields: Unpack[SnapshotFields]
    ) -> Snapshot:
        change = (
            sa.update(snapshots)
            .where(
                snapshots.c.id == snapshot_id,
                snapshots.c.state.in_(sorted(SNAPSHOT_LIFECYCLE.before(to))),
                self._seen,
            )
            .values(state=to, **fields)
            .returning(*snapshots.c)
        )

        async def work(connection: AsyncConnection) -> Snapshot:
            row = (await connection.execute(change)).mappings().first()
            if row is not None:
                return _snapshot(row)
            snapshot = await self._get(connection, snapshot_id, self._seen)
            SNAPSHOT_LIFECYCLE.check(snapshot.state, to, snapshot_id)
            raise Conflict(f"The snapshot {snapshot_id} was changed by somebody else.")

        return await self._database.write(work)

    async def remove(self, snapshot_id: str) -> bool:
        change = sa.delete(snapshots).where(snapshots.c.id == snapshot_id, self._seen)
        return (await self._database.write(lambda c: c.execute(change))).rowcount > 0

    async def _get(
        self, connection: AsyncConnection, snapshot_id: str, among: sa.ColumnElement[bool]
    ) -> Snapshot:
        query = sa.select(snapshots).where(snapshots.c.id == snapshot_id, among)
        row = (await connection.execute(query)).mappings().first()
        if row is None:
            raise NotFound("snapshot", snapshot_id)
        return _snapshot(row)


def _snapshot(row: Mapping[Any, Any]) -> Snapshot:
    return Snapshot(
        id=row["id"],
        name=row["name"],
        vm_id=row["vm_id"],
        driver=row["driver"],
        image_digest=row["image_digest"],
        resources=load(Resources, row["resources"]),
        state=SnapshotState(row["state"]),
        created_at=row["created_at"],
        size_bytes=row["size_bytes"],
        driver_data=row["driver_data"],
        labels=row["labels"],
        reason=row["reason"],
        owner=row["owner"],
        worker_id=row["worker_id"],
        project_id=row["project_id"],
    )


def _values(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "id": snapshot.id,
        "name": snapshot.name,
        "vm_id": snapshot.vm_id,
        "driver": snapshot.driver,
        "image_digest": snapshot.image_digest,
        "resources": dump(snapshot.resources),
        "state": snapshot.state,
        "created_at": snapshot.created_at,
        "size_bytes": snapshot.size_bytes,
        "driver_data": dict(snapshot.driver_data),
        "labels": dict(snapshot.labels),
        "reason": snapshot.reason,
        "owner": snapshot.owner,
        "worker_id": snapshot.worker_id,
        "project_id": snapshot.project_id,
    }


_: type[SnapshotRepository] = SqlSnapshots
