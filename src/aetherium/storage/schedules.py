"""The ScheduleRepository in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import AlreadyExists
from aetherium.domain.schedules import Schedule, ScheduleSpec
from aetherium.interfaces.cluster_store import ScheduleRepository
from aetherium.storage.codec import dump, load
from aetherium.storage.database import Database, now
from aetherium.storage.finding import find_id
from aetherium.storage.scope import EVERYTHING, Scope, seen
from aetherium.storage.tables import schedules


class SqlSchedules:
    """See interfaces/store.py."""

    def __init__(self, database: Database, scope: Scope = EVERYTHING) -> None:
        self._database = database
        self._seen = seen(schedules, scope.of_project)

    async def add(self, schedule: Schedule) -> None:
        try:
            await self._database.write(lambda c: c.execute(sa.insert(schedules).values(_values(schedule))))
        except IntegrityError as error:
            raise AlreadyExists(
                f"There is a schedule named {schedule.name!r} already.",
                hint="Choose another name, or remove that one.",
                name=schedule.name,
            ) from error

    async def find(self, ref: str) -> Schedule:
        async def work(connection: AsyncConnection) -> Schedule:
            found = await find_id(
                connection, schedules, "schedule", ref, schedules.c.name == ref, among=self._seen
            )
            query = sa.select(schedules).where(schedules.c.id == found)
            return _schedule((await connection.execute(query)).mappings().one())

        return await self._database.read(work)

    async def list(self) -> Sequence[Schedule]:
        query = sa.select(schedules).where(self._seen).order_by(schedules.c.name, schedules.c.id)

        async def work(connection: AsyncConnection) -> Sequence[Schedule]:
            return [_schedule(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)

    async def due(self, *, limit: int = 100) -> Sequence[tuple[Schedule, datetime]]:
        query = (
            sa.select(schedules)
            .where(schedules.c.next_at <= self._database.moment())
            .order_by(schedules.c.next_at)
            .limit(limit)
        )

        async def work(connection: AsyncConnection) -> Sequence[tuple[Schedule, datetime]]:
            rows = (await connection.execute(query)).mappings().all()
            if not rows:
                return ()
            at = await now(connection, self._database)
            return [(_schedule(row), at) for row in rows]

        return await self._database.read(work)

    async def advance(self, before: Schedule, after: Schedule) -> bool:
        same = (
            schedules.c.next_at.is_(None) if before.next_at is None else schedules.c.next_at == before.next_at
        )
        change = sa.update(schedules).where(schedules.c.id == before.id, same).values(_values(after))
        return (await self._database.write(lambda c: c.execute(change))).rowcount > 0

    async def remove(self, schedule_id: str) -> bool:
        change = sa.delete(schedules).where(schedules.c.id == schedule_id)
        return (await self._database.write(lambda c: c.execute(change))).rowcount > 0


_NAMES = ("id", "project_id", "name", "created_at", "next_at", "last_at", "last_task_id", "paused")


def _values(schedule: Schedule) -> dict[str, Any]:
    return {name: getattr(schedule, name) for name in _NAMES} | {"spec": dump(schedule.spec)}


def _schedule(row: Mapping[Any, Any]) -> Schedule:
    return Schedule(**{name: row[name] for name in _NAMES}, spec=load(ScheduleSpec, row["spec"]))


_: type[ScheduleRepository] = SqlSchedules
