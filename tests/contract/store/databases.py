"""The databases that the contract of the store runs on, and time that passes when a test says so."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from aetherium.interfaces.clock import SystemClock
from aetherium.storage.database import Database, PostgresDatabase, SqliteDatabase
from aetherium.storage.scope import Scope
from aetherium.storage.store import SqlStore
from aetherium.storage.tables import UtcTime


class Clock(SystemClock):
    """The machine's clock, ahead by what a test has let pass."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead_s)


class AheadPostgres(PostgresDatabase):
    """A server whose time is ahead as that of the clock."""

    def __init__(self, url: sa.URL, clock: Clock) -> None:
        super().__init__(url)
        self._clock = clock

    def moment(self, seconds: float = 0.0) -> sa.ColumnElement[datetime]:
        ahead = sa.bindparam(None, callable_=lambda: round(self._clock.ahead_s * 1e6), type_=sa.BigInteger)
        return sa.type_coerce(sa.type_coerce(super().moment(seconds), sa.BigInteger) + ahead, UtcTime)


class Stores:
    """Stores in one database, which has the present schema: of several processes, of several workers.

    Args:
        where: the path of an SQLite file, or a PostgreSQL URL.
    """

    def __init__(self, where: Path | str) -> None:
        self.where = where
        self._clock = Clock()
        self._open = AsyncExitStack()
        self._database = self._connect()
        self.store = SqlStore(self._database, self._clock)

    async def __aenter__(self) -> Stores:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def seen_by(self, worker_id: str) -> SqlStore:
        """The store as a worker sees it."""
        return SqlStore(self._database, self._clock, scope=Scope(worker_id))

    def of_another_process(self) -> SqlStore:
        """One with connections of its own."""
        return SqlStore(self._connect(), self._clock)

    def let_pass(self, seconds: float) -> None:
        """So much later."""
        self._clock.ahead_s += seconds

    def _connect(self) -> Database:
        database: Database
        if isinstance(self.where, Path):
            database = SqliteDatabase(self.where, self._clock)
        else:
            database = AheadPostgres(sa.make_url(self.where), self._clock)
        self._open.push_async_callback(database.close)
        return database
