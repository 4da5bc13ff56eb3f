"""The IdempotencyRepository in SQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.interfaces.idempotency import Earlier, IdempotencyRepository, RequestKey
from aetherium.storage.database import Database, now
from aetherium.storage.tables import idempotency as requests


class SqlIdempotency:
    """See interfaces/idempotency.py."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, request: RequestKey, fingerprint: str, *, lease_s: float) -> datetime | Earlier:
        moment = self._database.moment
        over = sa.delete(requests).where(requests.c.expires_at <= moment())
        known = sa.select(requests.c.fingerprint, requests.c.status, requests.c.answer).where(_is(request))

        async def work(connection: AsyncConnection) -> datetime | Earlier | None:
            await connection.execute(over)
            begun = await now(connection, self._database)
            added = (
                self._database.insert(requests)
                .values(
                    project_id=request.project_id,
                    key=request.key,
                    operation=request.operation,
                    fingerprint=fingerprint,
                    created_at=begun,
                    expires_at=moment(lease_s),
                )
                .on_conflict_do_nothing()
            )
            if (await connection.execute(added)).rowcount:
                return begun
            row = (await connection.execute(known)).first()
            return None if row is None else Earlier(row.fingerprint, row.status, row.answer or b"")

        # None: the other one was released between the two statements.
        while (found := await self._database.write(work)) is None:
            continue
        return found

    async def renew(self, request: RequestKey, begun: datetime, *, lease_s: float) -> bool:
        return await self._change(request, begun, expires_at=self._database.moment(lease_s))

    async def keep(
        self, request: RequestKey, begun: datetime, status: int, answer: bytes, *, keep_s: float
    ) -> bool:
        until = self._database.moment(keep_s)
        return await self._change(request, begun, status=status, answer=answer, expires_at=until)

    async def release(self, request: RequestKey, begun: datetime) -> None:
        await self._database.write(lambda c: c.execute(sa.delete(requests).where(_open(request, begun))))

    async def _change(self, request: RequestKey, begun: datetime, **values: Any) -> bool:
        change = sa.update(requests).where(_open(request, begun)).values(values)
        return (await self._database.write(lambda c: c.execute(change))).rowcount > 0


def _is(request: RequestKey) -> sa.ColumnElement[bool]:
    return sa.and_(
        requests.c.project_id == request.project_id,
        requests.c.key == request.key,
        requests.c.operation == request.operation,
    )


def _open(request: RequestKey, begun: datetime) -> sa.ColumnElement[bool]:
    """The one that was begun then, as long as it has no answer."""
    return sa.and_(_is(request), requests.c.created_at == begun, requests.c.status.is_(None))


_: type[IdempotencyRepository] = SqlIdempotency
