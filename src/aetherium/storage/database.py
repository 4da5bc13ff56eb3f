"""The database: SQLite or PostgreSQL, units of work that no cancellation cuts.

SQLite: pysqlite's own transaction handling silently loses updates, so it is off (``isolation_level=None``)
and every unit that writes begins with BEGIN IMMEDIATE: it has the write lock before it reads. One writer,
some readers; write-ahead logging lets readers and other processes go on meanwhile.

PostgreSQL: READ COMMITTED. What is read to be changed is locked by the query that reads it; units that the
server ends because they waited for one another (deadlock) are done again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from aetherium.domain.errors import Unavailable
from aetherium.interfaces.clock import Clock
from aetherium.interfaces.finishing import finish
from aetherium.storage import sqlite_driver
from aetherium.storage.tables import UtcTime

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]
Opener = Callable[[], AbstractAsyncContextManager[AsyncConnection]]

# Other processes write for milliseconds; a migration may take seconds.
BUSY_MS = 30_000
READERS = 4
# Connections of one process to PostgreSQL, whose default is 100 for all.
POOL = 10
# Who stands still in the middle of a transaction keeps its locks, and others waiting: the server ends it.
_IDLE_MS = "5000"
# How often a unit that met a deadlock is done again.
_RETRIES = 5
_DEADLOCKS = ("40P01", "40001")
# When the statement began, which stands still while it runs: an index can serve a comparison with it.
_SERVER_NOW = "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000 AS BIGINT)"


class Database(Protocol):
    """Where repositories do their units of work."""

    async def write(self, work: Work[T]) -> T:
        """Do `work` in a transaction. A caller that is cancelled meanwhile gets that when it is done.
        IntegrityError is the caller's to explain; raises Unavailable for everything else that the database
        does."""
        ...

    async def write_one(self, work: Work[T]) -> T:
        """As `write`, for a single statement: where a statement commits by itself, that saves the round trips
        of BEGIN and COMMIT."""
        ...

    async def read(self, work: Work[T]) -> T:
        """Do `work`, which only reads; each of its queries sees what was committed before. Raises
        Unavailable."""
        ...

    def moment(self, seconds: float = 0.0) -> sa.ColumnElement[datetime]:
        """The database's time, so many seconds from when the statement is carried out, as an expression."""
        ...

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that knows ON CONFLICT."""
        ...

    def pairs(self, parameter: str) -> sa.TableValuedAlias:
        """A parameter that is a JSON object with texts as values, as a table of `key` and `value`."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class SqliteDatabase:
    """Connections to one file, which has the present schema; see migrating.py."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._writer = _sqlite_engine(path, size=1, query_only=False)
        self._reader = _sqlite_engine(path, size=READERS, query_only=True)
        event.listen(
            self._writer.sync_engine,
            "begin",
            lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"),
        )

    async def write(self, work: Work[T]) -> T:
        # A transaction cut in the middle would keep the write lock.
        return await finish(self._unit(self._writer.begin(), work))

    async def write_one(self, work: Work[T]) -> T:
        return await self.write(work)

    async def read(self, work: Work[T]) -> T:
        # Without BEGIN and COMMIT a query costs half as much.
        return await finish(self._unit(self._reader.connect(), work))

    def moment(self, seconds: float = 0.0) -> sa.ColumnElement[datetime]:
        # Asked when the statement is carried out: it may be an old one.
        return sa.bindparam(
            None, callable_=lambda: self._clock.now() + timedelta(seconds=seconds), type_=UtcTime
        )

    def insert(self, table: sa.Table) -> Any:
        return sqlite.insert(table)

    def pairs(self, parameter: str) -> sa.TableValuedAlias:
        given = sa.bindparam(parameter, type_=sa.Text)
        return sa.func.json_each(given).table_valued("key", "value", name=f"{parameter}_pairs")

    async def close(self) -> None:
        await finish(_dispose(self._reader, self._writer))

    async def _unit(self, opening: AbstractAsyncContextManager[AsyncConnection], work: Work[T]) -> T:
        try:
            async with opening as connection:
                return await work(connection)
        except IntegrityError:
            raise
        except (DBAPIError, PoolTimeout, OSError) as error:
            raise Unavailable(
                f"The database {self._path} cannot be used: {_cause(error)}.",
                hint="See that the disk has room and that the file and its directory can be written.",
            ) from error


class PostgresDatabase:
    """Connections to a server's database, which has the present schema.

    Args:
        url: ``postgresql+asyncpg://…``.
    """

    def __init__(self, url: sa.URL) -> None:
        # Here, for only those with a server need it. It has no types.
        import asyncpg  # type: ignore[import-untyped]

        self._where = url.render_as_string(hide_password=True)
        # A connection that is lost while it is set up fails with the driver's own errors.
        self._foreign = (
            DBAPIError,
            PoolTimeout,
            OSError,
            TimeoutError,
            asyncpg.InterfaceError,
            asyncpg.PostgresError,
        )
        self._engine = create_async_engine(
            url,
            pool_size=POOL,
            max_overflow=0,
            pool_timeout=60,
            pool_recycle=1800,
            hide_parameters=True,  # what a command was given is nothing for a log
            connect_args={
                "timeout": 5,
                "server_settings": {
                    "application_name": "aetherium",
                    "idle_in_transaction_session_timeout": _IDLE_MS,
                },
            },
        )
        self._each_by_itself = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    async def write(self, work: Work[T]) -> T:
        return await self._write(self._engine.begin, work)

    async def write_one(self, work: Work[T]) -> T:
        return await self._write(self._each_by_itself.connect, work)

    async def _write(self, open_one: Opener, work: Work[T]) -> T:
        for turn in range(_RETRIES):
            try:
                return await finish(self._unit(open_one(), work))
            except IntegrityError:
                raise
            except DBAPIError as error:
                if not _deadlocked(error) or turn == _RETRIES - 1:
                    raise self._unavailable(error) from error
        raise AssertionError

    async def read(self, work: Work[T]) -> T:
        return await finish(self._unit(self._each_by_itself.connect(), work))

    def moment(self, seconds: float = 0.0) -> sa.ColumnElement[datetime]:
        return sa.literal_column(f"({_SERVER_NOW} + {round(seconds * 1e6)})", UtcTime())

    def insert(self, table: sa.Table) -> Any:
        return postgresql.insert(table)

    def pairs(self, parameter: str) -> sa.TableValuedAlias:
        given = sa.cast(sa.bindparam(parameter, type_=sa.Text), sa.JSON)
        return sa.func.json_each_text(given).table_valued("key", "value", name=f"{parameter}_pairs")

    async def close(self) -> None:
        await finish(_dispose(self._engine))

    async def _unit(self, opening: AbstractAsyncContextManager[AsyncConnection], work: Work[T]) -> T:
        try:
            async with opening as connection:
                return await work(connection)
        except IntegrityError:
            raise
        except self._foreign as error:
            if _deadlocked(error):
                raise
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"The database {self._where} cannot be used: {_cause(error)}.",
            hint="See that the server runs, and that the setting database_url is right.",
        )


class Bound:
    """A transaction that has begun already: all units are part of it. One that is refused is undone alone,
    which leaves the transaction usable."""

    def __init__(self, connection: AsyncConnection, database: Database) -> None:
        self._connection = connection
        self._database = database

    async def write(self, work: Work[T]) -> T:
        async with self._connection.begin_nested():
            return await work(self._connection)

    async def write_one(self, work: Work[T]) -> T:
        return await self.write(work)

    async def read(self, work: Work[T]) -> T:
        return await work(self._connection)

    def moment(self, seconds: float = 0.0) -> sa.ColumnElement[datetime]:
        return self._database.moment(seconds)

    def insert(self, table: sa.Table) -> Any:
        return self._database.insert(table)

    def pairs(self, parameter: str) -> sa.TableValuedAlias:
        return self._database.pairs(parameter)

    async def close(self) -> None:
        return None


async def now(connection: AsyncConnection, database: Database) -> datetime:
    """The database's time as a value."""
    found: datetime = (await connection.execute(sa.select(database.moment()))).scalar_one()
    return found


async def _dispose(*engines: AsyncEngine) -> None:
    for engine in engines:
        await engine.dispose()


def _cause(error: Exception) -> object:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause) or type(cause).__name__


def _deadlocked(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _DEADLOCKS


def _sqlite_engine(path: Path, *, size: int, query_only: bool) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}",
        poolclass=AsyncAdaptedQueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=60,
        isolation_level="AUTOCOMMIT" if query_only else None,
        skip_autocommit_rollback=query_only,
        pool_reset_on_return=None if query_only else "rollback",
        hide_parameters=True,  # what a command was given is nothing for a log
        async_creator=lambda: sqlite_driver.connect(path, BUSY_MS / 1000),
    )

    def connected(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout = {BUSY_MS}",
            "journal_mode = WAL",
            # A power failure may cost the last transactions, never the file.
            "synchronous = NORMAL",
            "foreign_keys = ON",
            f"query_only = {int(query_only)}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine.sync_engine, "connect", connected)
    return engine


_: tuple[type[Database], ...] = (SqliteDatabase, PostgresDatabase, Bound)
