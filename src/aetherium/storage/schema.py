"""The schema of a database: which it is, one revision up or down, what differs from the tables.

A change happens in one transaction, of which all or nothing remains, in both databases. One process at a time
changes it: behind a lock on a file beside SQLite's, or an advisory lock of PostgreSQL.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from aetherium.domain.errors import InvalidInput, Unavailable
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.schema import BASE, Difference, Revision, Schema
from aetherium.storage.database import BUSY_MS
from aetherium.storage.differences import differences
from aetherium.storage.migrating import HEAD, misfit, name, no_file, no_server, server_url

T = TypeVar("T")
Work = Callable[[sa.Connection], T]

_MIGRATIONS = Path(__file__).parent / "migrations"
# The advisory lock's key, an arbitrary number that nobody else uses in a database of ours.
_LOCK = int.from_bytes(b"aetherdb", "big")
# A change of a table waits for those who use it, and all others wait behind it.
_LOCK_S = 10.0
_IN_USE = "55P03"  # PostgreSQL's code: lock_not_available


class SqlSchema:
    """See interfaces/schema.py. A subclass says how its database is read and changed."""

    database: str
    head = HEAD

    async def current(self) -> str | None:
        return await self._read(_current)

    async def history(self) -> Sequence[Revision]:
        done = _place(self.database, await self.current())
        return [
            Revision(script.revision, script.doc, number < done) for number, script in enumerate(_scripts())
        ]

    async def check(self) -> Sequence[Difference]:
        return await self._read(differences)

    async def upgrade(self, to: str | None = None) -> Sequence[str]:
        target = HEAD if to is None else to
        return await self._change(lambda connection: _upgrade(connection, self.database, target))

    async def downgrade(self, to: str) -> Sequence[str]:
        return await self._change(lambda connection: _downgrade(connection, self.database, to))

    async def _read(self, work: Work[T]) -> T:
        raise NotImplementedError

    async def _change(self, work: Work[T]) -> T:
        raise NotImplementedError


class SqliteSchema(SqlSchema):
    """That of a file."""

    def __init__(self, path: Path) -> None:
        self.database = str(path)
        self._path = path

    def ensure(self) -> None:
        """Make the file, or bring it up to date. Blocks."""
        self._changed(lambda connection: _upgrade(connection, self.database, HEAD))

    async def _read(self, work: Work[T]) -> T:
        return await asyncio.to_thread(self._looked, work)

    async def _change(self, work: Work[T]) -> T:
        return await finish(asyncio.to_thread(self._changed, work))

    def _looked(self, work: Work[T]) -> T:
        database = self.database if self._path.exists() else ":memory:"  # a look does not make the file
        try:
            with self._connected(database) as connection:
                return work(connection)
        except DBAPIError as error:
            raise no_file(self._path, error) from error

    def _changed(self, work: Work[T]) -> T:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(self._path.with_suffix(".lock")):
                with closing(sqlite3.connect(self._path)) as first:
                    first.execute("PRAGMA journal_mode = WAL")
                with self._connected(self.database, begin="BEGIN IMMEDIATE") as connection:
                    return work(connection)
        except (OSError, sqlite3.Error, DBAPIError) as error:
            raise no_file(self._path, error, "migrated") from error

    @contextmanager
    def _connected(self, database: str, begin: str = "BEGIN") -> Iterator[sa.Connection]:
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=database),
            poolclass=NullPool,
            connect_args={"isolation_level": None, "timeout": BUSY_MS / 1000},
        )
        # Not left to the driver, which begins a transaction only before some statements.
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()


class PostgresSchema(SqlSchema):
    """That of a server's database.

    Args:
        lock_s: seconds that a change waits for those who use a table.
    """

    def __init__(self, url: sa.URL, *, lock_s: float = _LOCK_S) -> None:
        self.database = name(url)
        self._url = url
        self._lock_ms = round(lock_s * 1000)

    async def _read(self, work: Work[T]) -> T:
        return await self._unit(work, change=False)

    async def _change(self, work: Work[T]) -> T:
        return await self._unit(work, change=True)

    async def _unit(self, work: Work[T], *, change: bool) -> T:
        engine = create_async_engine(self._url, poolclass=NullPool, hide_parameters=True)
        try:
            return await self._done(engine, work, change=change)
        except (DBAPIError, OSError) as error:
            if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == _IN_USE:
                raise self._in_use() from error
            raise no_server(self._url, error) from error
        finally:
            await engine.dispose()

    async def _done(self, engine: AsyncEngine, work: Work[T], *, change: bool) -> T:
        async with engine.begin() as connection:
            if change:
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                await connection.exec_driver_sql(f"SET LOCAL lock_timeout = {self._lock_ms}")
            return await connection.run_sync(work)

    def _in_use(self) -> Unavailable:
        return Unavailable(
            f"The tables of {self.database} are in use: {self._lock_ms / 1000:g} s were not enough to wait.",
            hint="End the services and try again. Nothing has changed.",
        )


def schema_of(where: Path | str) -> Schema:
    """The schema of a file, or of the PostgreSQL database of a URL."""
    if isinstance(where, Path):
        return SqliteSchema(where)
    return PostgresSchema(server_url(where))


def _upgrade(connection: sa.Connection, database: str, to: str) -> Sequence[str]:
    now, then = _place(database, _current(connection)), _target(to)
    if then < now:
        raise InvalidInput(
            f"The database {database} is beyond the schema {to} already.",
            hint=f"To go back: aetherium db downgrade {to}",
            field="revision",
        )
    if then > now:
        command.upgrade(_config(connection), to)
    return [script.revision for script in _scripts()[now:then]]


def _downgrade(connection: sa.Connection, database: str, to: str) -> Sequence[str]:
    now, then = _place(database, _current(connection)), _target(to)
    if then > now:
        raise InvalidInput(
            f"The database {database} is older than the schema {to}.",
            hint=f"To go there: aetherium db upgrade {to}",
            field="revision",
        )
    if then < now:
        command.downgrade(_config(connection), to)
    return [script.revision for script in reversed(_scripts()[then:now])]


def _current(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _place(database: str, found: str | None) -> int:
    """How many revisions a database has."""
    known = [script.revision for script in _scripts()]
    if found is not None and found not in known:
        raise misfit(database, found)
    return 0 if found is None else known.index(found) + 1


def _target(to: str) -> int:
    known = [BASE, *(script.revision for script in _scripts())]
    if to not in known:
        raise InvalidInput(
            f"There is no revision {to!r}.", hint=f"There are: {', '.join(known)}.", field="revision"
        )
    return known.index(to)


def _scripts() -> Sequence[Script]:
    """All revisions, oldest first."""
    return list(ScriptDirectory.from_config(_config()).walk_revisions())[::-1]


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    # Alembic's interpolation takes a % for its own.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process migrates; the others wait and then find it done."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


_: tuple[type[Schema], ...] = (SqliteSchema, PostgresSchema)
