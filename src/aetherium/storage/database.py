"""The SQLite database: one writer, some readers, units of work that no cancellation cuts.

pysqlite's own transaction handling silently loses updates, so it is off (``isolation_level=None``) and every
unit that writes begins with BEGIN IMMEDIATE: it has the write lock before it reads. Write-ahead logging lets
readers and other processes go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from aetherium.domain.errors import Unavailable
from aetherium.interfaces.finishing import finish

T = TypeVar("T")

# Other processes write for milliseconds; a migration may take seconds.
BUSY_MS = 30_000
READERS = 4


class Database:
    """Connections to one file, which has the present schema; see migrating.py."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = _engine(path, size=1, query_only=False)
        self._reader = _engine(path, size=READERS, query_only=True)
        event.listen(
            self._writer.sync_engine,
            "begin",
            lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"),
        )

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do `work` in a transaction. A caller that is cancelled meanwhile gets that when it is done: a
        transaction cut in the middle would keep the write lock. IntegrityError is the caller's to explain;
        raises Unavailable for everything else that the database does."""
        return await finish(self._unit(self._writer, work))

    async def read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do `work`, which only reads; each of its queries sees what was committed before. Without BEGIN and
        COMMIT a query costs half as much. Raises Unavailable."""
        return await finish(self._unit(self._reader, work))

    async def close(self) -> None:
        """Let go of all connections."""
        await finish(self._close())

    async def _close(self) -> None:
        for engine in (self._reader, self._writer):
            await engine.dispose()

    async def _unit(self, engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            async with engine.begin() as connection:
                return await work(connection)
        except IntegrityError:
            raise
        except (DBAPIError, PoolTimeout, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        cause = error.orig if isinstance(error, DBAPIError) else error
        return Unavailable(
            f"The database {self._path} cannot be used: {cause}.",
            hint="See that the disk has room and that the file and its directory can be written.",
        )


def _engine(path: Path, *, size: int, query_only: bool) -> AsyncEngine:
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
        connect_args={"isolation_level": None, "timeout": BUSY_MS / 1000},
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
