"""The IdempotencyRepository in SQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.interfaces.idempotency import Begun, Earlier, IdempotencyRepository, RequestKey
from aetherium.storage.database import Database, now
from aetherium.storage.tables import idempotency as requests

# A request that was begun, whose gateway is gone and that nobody asks for again is forgotten then.
ABANDONED_S = 24 * 3600.0


class SqlIdempotency:
    """See interfaces/idempotency.py."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self, request: RequestKey, fingerprint: str, mark: str, *, lease_s: float
    ) -> Begun | Earlier:
        moment = self._database.moment
        lapsed = sa.and_(requests.c.expires_at <= moment(), requests.c.status.is_(None))
        over = sa.delete(requests).where(
            requests.c.expires_at <= moment(),
            sa.or_(requests.c.status.is_not(None), requests.c.expires_at <= moment(-ABANDONED_S)),
        )
        known = sa.select(requests.c.fingerprint, requests.c.status, requests.c.answer).where(_is(request))

        async def work(connection: AsyncConnection) -> Begun | Earlier | None:
            await connection.execute(over)
            begun = await now(connection, self._database)
            added = (
                self._database.insert(requests)
                .values(
                    project_id=request.project_id,
                    key=request.key,
                    operation=request.operation,
                    fingerprint=fingerprint,
                    answer=mark.encode(),
                    created_at=begun,
                    expires_at=moment(lease_s),
                )
                .on_conflict_do_nothing()
            )
            if (await connection.execute(added)).rowcount:
                return Begun(begun, mark)
            again = (
                sa.update(requests)
                .where(_is(request), lapsed, requests.c.fingerprint == fingerprint)
                .values(created_at=begun, expires_at=moment(lease_s))
                .returning(requests.c.answer)
            )
            if (row := (await connection.execute(again)).first()) is not None:
                return Begun(begun, row.answer.decode())
            row = (await connection.execute(known)).first()
            return None if row is None else _earlier(row)

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


def _earlier(row: Any) -> Earlier:
    """Until a request has an answer, its mark is in its place."""
    return Earlier(row.fingerprint, row.status, b"" if row.status is None else row.answer or b"")


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
