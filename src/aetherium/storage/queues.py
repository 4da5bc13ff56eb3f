"""The QueueRepository in SQL: paused priorities, limits of task types with their token buckets."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.tasks import Priority, TypeLimit
from aetherium.interfaces.task_store import QueueRepository
from aetherium.storage.database import Database, now
from aetherium.storage.tables import queues, type_limits

# Tokens are sums of fractions: ten times a tenth has to be a whole one.
_ROUNDING = 1e-6


class SqlQueues:
    """See interfaces/store.py."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def paused(self) -> Collection[Priority]:
        query = sa.select(queues.c.priority).where(queues.c.paused)

        async def work(connection: AsyncConnection) -> Collection[Priority]:
            return {Priority(name) for name in await connection.scalars(query)}

        return await self._database.read(work)

    async def pause(self, priority: Priority, *, on: bool) -> None:
        change = (
            self._database.insert(queues)
            .values(priority=priority, paused=on)
            .on_conflict_do_update(index_elements=[queues.c.priority], set_={"paused": on})
        )
        await self._database.write(lambda c: c.execute(change))

    async def limits(self) -> Mapping[str, TypeLimit]:
        query = sa.select(type_limits)

        async def work(connection: AsyncConnection) -> Mapping[str, TypeLimit]:
            rows = (await connection.execute(query)).mappings()
            return {
                row["type"]: TypeLimit(row["per_second"], row["burst"], row["concurrency"]) for row in rows
            }

        return await self._database.read(work)

    async def limit(self, task_type: str, limit: TypeLimit | None) -> None:
        if limit is None:
            change: Any = sa.delete(type_limits).where(type_limits.c.type == task_type)
        else:
            values = {
                "per_second": limit.per_second,
                "burst": limit.burst,
                "concurrency": limit.concurrency,
                "tokens": float(limit.burst),
                "refilled_at": self._database.moment(),
            }
            change = (
                self._database.insert(type_limits)
                .values(type=task_type, **values)
                .on_conflict_do_update(index_elements=[type_limits.c.type], set_=values)
            )
        await self._database.write(lambda c: c.execute(change))

    async def take(self, wanted: Mapping[str, int]) -> Mapping[str, int]:
        query = (
            sa.select(type_limits)
            .where(type_limits.c.type.in_(wanted), type_limits.c.per_second.is_not(None))
            .order_by(type_limits.c.type)  # all lock in one order
            .with_for_update()
        )
        change = (
            sa.update(type_limits)
            .where(type_limits.c.type == sa.bindparam("name"))
            .values(tokens=sa.bindparam("left"), refilled_at=sa.bindparam("at"))
        )

        async def work(connection: AsyncConnection) -> Mapping[str, int]:
            rows = (await connection.execute(query)).mappings().all()
            if not rows:
                return {}
            at = await now(connection, self._database)
            full = {row["type"]: _tokens(row, at) for row in rows}
            taken = {name: min(wanted[name], math.floor(full[name] + _ROUNDING)) for name in full}
            left = {row["type"]: min(row["burst"], full[row["type"]] - taken[row["type"]]) for row in rows}
            await connection.execute(
                change, [{"name": name, "left": float(tokens), "at": at} for name, tokens in left.items()]
            )
            return taken

        return await self._database.write(work)


def _tokens(row: Mapping[Any, Any], at: datetime) -> float:
    """What is in a bucket. A clock may be set back; that takes nothing out of it."""
    passed_s = max(0.0, (at - row["refilled_at"]).total_seconds())
    return min(float(row["burst"]), float(row["tokens"] + passed_s * row["per_second"]))


_: type[QueueRepository] = SqlQueues
