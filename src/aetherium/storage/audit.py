"""The AuditRepository in SQL. Triggers of the database refuse to change or remove entries and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Unpack

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.audit import AuditCheckpoint, AuditEntry, AuditEvent, AuditHead
from aetherium.domain.errors import Conflict
from aetherium.interfaces.audit import AuditBatch, AuditEnd, AuditFilter, AuditRepository, Link
from aetherium.storage.database import Database, now
from aetherium.storage.scope import EVERYTHING, Scope, seen
from aetherium.storage.tables import audit, audit_checkpoints, audit_head

_FIELDS = ("actor", "action", "resource", "outcome", "project_id", "address", "request_id", "data")
_HEAD = 1
_head_row = sa.select(audit_head.c.seq, audit_head.c.hash, audit_head.c.signature).where(
    audit_head.c.id == _HEAD
)
# Made once, for whoever changes something waits for them.
_MOVE_HEAD = (
    sa.update(audit_head)
    .where(audit_head.c.id == _HEAD)
    .values({name: sa.bindparam(f"new_{name}") for name in ("seq", "hash", "signature")})
)
_INSERT_HEAD = sa.insert(audit_head).values(
    id=_HEAD, **{name: sa.bindparam(f"new_{name}") for name in ("seq", "hash", "signature")}
)
_INSERT = sa.insert(audit)


class SqlAudit:
    """See interfaces/audit.py."""

    def __init__(self, database: Database, scope: Scope = EVERYTHING) -> None:
        self._database = database
        self._seen = seen(audit, scope.of_project)

    async def append(self, link: Link) -> AuditBatch:
        async def work(connection: AsyncConnection) -> AuditBatch:
            row = (await connection.execute(self._end)).mappings().first()
            if row is None:
                batch = link(None, await now(connection, self._database))
                await connection.execute(_INSERT_HEAD, _head_values(batch.head))
            else:
                batch = link(_head(row), row["now"])
                await connection.execute(_MOVE_HEAD, _head_values(batch.head))
            await connection.execute(_INSERT, [_values(entry) for entry in batch.entries])
            if batch.checkpoint is not None:
                values = _checkpoint_values(batch.checkpoint)
                await connection.execute(sa.insert(audit_checkpoints).values(values))
            return batch

        try:
            return await self._database.write(work)
        except IntegrityError as error:
            raise Conflict("The next number of the audit log is taken.", hint="Try again.") from error

    @cached_property
    def _end(self) -> sa.Executable:
        """Locked, with the time."""
        return _head_row.add_columns(self._database.moment().label("now")).with_for_update()

    async def end(self) -> AuditEnd:
        # One query, so that all of it is of one moment.
        last = sa.select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1).subquery()
        newest = sa.select(audit_checkpoints).order_by(audit_checkpoints.c.seq.desc()).limit(1).subquery()
        head = _head_row.subquery()
        one = sa.select(sa.literal(1).label("one")).subquery()
        columns = [
            column.label(f"{name}_{column.name}")
            for name, part in (("head", head), ("last", last), ("checkpoint", newest))
            for column in part.c
        ]
        query = sa.select(*columns).select_from(
            one.outerjoin(head, sa.true()).outerjoin(last, sa.true()).outerjoin(newest, sa.true())
        )

        async def work(connection: AsyncConnection) -> AuditEnd:
            row = (await connection.execute(query)).mappings().one()
            return AuditEnd(
                None if row["head_seq"] is None else _head(_part(row, "head")),
                None if row["last_seq"] is None else (row["last_seq"], row["last_hash"]),
                None if row["checkpoint_seq"] is None else _checkpoint(_part(row, "checkpoint")),
            )

        return await self._database.read(work)

    async def list(
        self, *, before: int | None = None, limit: int = 100, **where: Unpack[AuditFilter]
    ) -> Sequence[AuditEntry]:
        conditions = _conditions(where)
        if before is not None:
            conditions.append(audit.c.seq < before)
        return await self._entries(
            sa.select(audit).where(self._seen, *conditions).order_by(audit.c.seq.desc()).limit(limit)
        )

    async def entries(self, *, after: int = 0, limit: int = 500) -> Sequence[AuditEntry]:
        return await self._entries(
            sa.select(audit).where(self._seen, audit.c.seq > after).order_by(audit.c.seq).limit(limit)
        )

    async def checkpoints(self, *, after: int = 0, limit: int = 500) -> Sequence[AuditCheckpoint]:
        table = audit_checkpoints
        query = sa.select(table).where(table.c.seq > after).order_by(table.c.seq).limit(limit)

        async def work(connection: AsyncConnection) -> Sequence[AuditCheckpoint]:
            return [_checkpoint(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)

    async def _entries(self, query: sa.Select[Any]) -> Sequence[AuditEntry]:
        async def work(connection: AsyncConnection) -> Sequence[AuditEntry]:
            return [_entry(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)


def _conditions(where: AuditFilter) -> list[sa.ColumnElement[bool]]:
    found = [
        audit.c[name] == where[name]
        for name in ("project_id", "actor", "resource", "outcome")
        if name in where
    ]
    if (action := where.get("action")) is not None:
        wild = action.endswith("*")
        found.append(
            audit.c.action.startswith(action[:-1], autoescape=True) if wild else audit.c.action == action
        )
    if (since := where.get("since")) is not None:
        found.append(audit.c.at >= since)
    if (until := where.get("until")) is not None:
        found.append(audit.c.at < until)
    return found


def _part(row: Mapping[Any, Any], name: str) -> Mapping[str, Any]:
    return {key.removeprefix(f"{name}_"): value for key, value in row.items() if key.startswith(f"{name}_")}


def _values(entry: AuditEntry) -> dict[str, Any]:
    event = entry.event
    values = {name: getattr(event, name) for name in _FIELDS} | {"data": dict(event.data)}
    return values | {"seq": entry.seq, "at": entry.at, "previous": entry.previous, "hash": entry.hash}


def _entry(row: Mapping[Any, Any]) -> AuditEntry:
    event = AuditEvent(**{name: row[name] for name in _FIELDS})
    return AuditEntry(row["seq"], row["at"], event, row["previous"], row["hash"])


def _head_values(head: AuditHead) -> dict[str, Any]:
    return {"new_seq": head.seq, "new_hash": head.hash, "new_signature": bytes.fromhex(head.signature)}


def _head(row: Mapping[Any, Any]) -> AuditHead:
    return AuditHead(row["seq"], row["hash"], row["signature"].hex())


def _checkpoint_values(checkpoint: AuditCheckpoint) -> dict[str, Any]:
    return {
        "seq": checkpoint.seq,
        "at": checkpoint.at,
        "hash": checkpoint.hash,
        "key": checkpoint.key,
        "signature": bytes.fromhex(checkpoint.signature),
    }


def _checkpoint(row: Mapping[Any, Any]) -> AuditCheckpoint:
    return AuditCheckpoint(row["seq"], row["at"], row["hash"], row["key"], row["signature"].hex())


_: type[AuditRepository] = SqlAudit
