"""The EventRepository in SQL: an outbox that every transaction can write to, and the log that it is moved to.

The log's numbers are given by the one process that leads, in the order of its commits. So whoever has read up
to a number has missed nothing before it, which a database's sequence does not promise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.events import Event
from aetherium.interfaces.cluster_store import EventRepository
from aetherium.interfaces.task_store import LeaderEpoch
from aetherium.storage import leaders
from aetherium.storage.database import Database
from aetherium.storage.scope import EVERYTHING, Scope, seen
from aetherium.storage.tables import events, outbox

_NAMES = ("id", "type", "subject", "project_id", "at", "data")


async def record(connection: AsyncConnection, facts: Sequence[Event]) -> None:
    """Write events into the outbox, in a transaction that makes them facts."""
    if facts:
        await connection.execute(sa.insert(outbox), [_values(event) for event in facts])


class SqlEvents:
    """See interfaces/store.py."""

    def __init__(self, database: Database, scope: Scope = EVERYTHING) -> None:
        self._database = database
        self._seen = seen(events, scope.of_project)

    async def emit(self, facts: Sequence[Event]) -> None:
        await self._database.write(lambda c: record(c, facts))

    async def relay(self, epoch: LeaderEpoch, *, limit: int = 500) -> Sequence[Event]:
        oldest = sa.select(outbox).order_by(outbox.c.number).limit(limit)

        async def move(connection: AsyncConnection) -> Sequence[Event]:
            await leaders.require(connection, epoch)
            # Locked: another call of the same leader waits here, and finds those that are left.
            rows = (await connection.execute(oldest.with_for_update())).mappings().all()
            if not rows:
                return ()
            last = await connection.scalar(sa.select(sa.func.max(events.c.seq))) or 0
            moved = [replace(_event(row), seq=last + place) for place, row in enumerate(rows, 1)]
            await connection.execute(
                sa.insert(events), [{**_values(event), "seq": event.seq} for event in moved]
            )
            numbers = [row["number"] for row in rows]
            await connection.execute(sa.delete(outbox).where(outbox.c.number.in_(numbers)))
            return moved

        if await self._database.read(lambda c: c.scalar(sa.select(outbox.c.number).limit(1))) is None:
            return ()
        return await self._database.write(move)

    async def list(self, *, after: int = 0, limit: int = 500, types: Collection[str] = ()) -> Sequence[Event]:
        query = sa.select(events).where(events.c.seq > after, self._seen).order_by(events.c.seq).limit(limit)
        if types:
            query = query.where(sa.or_(*(_fits(each) for each in types)))

        async def work(connection: AsyncConnection) -> Sequence[Event]:
            rows = (await connection.execute(query)).mappings()
            return [replace(_event(row), seq=row["seq"]) for row in rows]

        return await self._database.read(work)

    async def last(self) -> int:
        query = sa.select(sa.func.max(events.c.seq))
        return await self._database.read(lambda c: c.scalar(query)) or 0

    async def purge(self, keep_s: float, *, limit: int = 5000) -> int:
        # The newest one stays: the next number is counted from it.
        newest = sa.select(sa.func.max(events.c.seq)).scalar_subquery()
        old = (
            sa.select(events.c.seq)
            .where(events.c.at < self._database.moment(-keep_s), events.c.seq < newest)
            .order_by(events.c.at)
            .limit(limit)
        )
        change = sa.delete(events).where(events.c.seq.in_(old))
        return (await self._database.write(lambda c: c.execute(change))).rowcount


def _fits(wanted: str) -> sa.ColumnElement[bool]:
    if wanted.endswith("*"):
        return events.c.type.startswith(wanted[:-1], autoescape=True)
    return events.c.type == wanted


def _values(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in _NAMES if name != "data"} | {"data": dict(event.data)}


def _event(row: Mapping[Any, Any]) -> Event:
    return Event(**{name: row[name] for name in _NAMES})


_: type[EventRepository] = SqlEvents
