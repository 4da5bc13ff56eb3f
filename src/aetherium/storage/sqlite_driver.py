"""aiosqlite for SQLAlchemy, with one trip to the connection's thread for each statement.

aiosqlite goes there and back for each step: to make a cursor, to execute, to fetch, to close. For the short
statements that we have that takes longer than SQLite does. SQLAlchemy fetches all rows at once anyway.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiosqlite

# Of one statement; those of ours have places, not names.
Parameters = Sequence[Any]


class _Cursor(aiosqlite.Cursor):
    """What a statement gave; of the cursor in the thread nothing is left."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._found: list[Any] = []
        self._columns: Any = None
        self._count = -1
        self._last: int | None = None

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> _Cursor:
        await self._connection.there(self._run, sql, tuple(parameters or ()))
        return self

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> _Cursor:
        await self._connection.there(self._run_many, sql, [tuple(each) for each in parameters])
        return self

    async def fetchall(self) -> Iterable[sqlite3.Row]:
        found, self._found = self._found, []
        return found

    async def close(self) -> None:
        self._found = []

    @property
    def description(self) -> Any:
        return self._columns

    @property
    def rowcount(self) -> int:
        return self._count

    @property
    def lastrowid(self) -> int | None:
        return self._last

    def _run(self, sql: str, parameters: Parameters) -> None:
        self._take(self._connection._conn.execute(sql, parameters))

    def _run_many(self, sql: str, parameters: Sequence[Parameters]) -> None:
        self._take(self._connection._conn.executemany(sql, parameters))

    def _take(self, cursor: sqlite3.Cursor) -> None:
        self._columns = cursor.description
        if self._columns is not None:
            self._found = cursor.fetchall()
        self._count, self._last = cursor.rowcount, cursor.lastrowid
        cursor.close()


class _Connection(aiosqlite.Connection):
    async def there(self, function: Callable[..., None], *arguments: object) -> None:
        """Call it in the connection's thread."""
        await self._execute(function, *arguments)  # type: ignore[no-untyped-call]  # which is what it is for

    def cursor(self) -> AbstractAsyncContextManager[_Cursor]:  # type: ignore[override]  # a narrower one
        return _Cursor(self)


async def connect(path: Path, timeout_s: float) -> aiosqlite.Connection:
    """A connection in autocommit mode; it waits so long for the locks of others."""

    def connector() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=timeout_s, isolation_level=None)

    connection = _Connection(connector, iter_chunk_size=64)
    connection._thread.daemon = True  # as SQLAlchemy does: a connection that is lost must not hold the end up
    return await connection
