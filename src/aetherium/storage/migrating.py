"""Opening a database with the schema that this version has.

Every command opens the file, so this has to cost nothing when there is nothing to do: the version is read
with the standard library, and Alembic is loaded only for a migration.

A file belongs to one host and is migrated by whoever opens it. A server's database belongs to many services,
which do not race to change it under one another's hands: they refuse it, and ``aetherium db upgrade`` mends
it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from aetherium.domain.errors import Conflict, InvalidInput, Unavailable

# The newest file in migrations/versions; a test compares.
HEAD = "0003"
_SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
# Of a URL's query. A socket's directory is a host; asyncpg calls sslmode ssl.
_OPTIONS = {"host", "port", "sslmode", "ssl"}


def migrate(path: Path) -> None:
    """Make the file, or bring it up to date. Blocks: call it in a thread.

    Raises Conflict for a file from a newer version of Aetherium, Unavailable if it cannot be read or written.
    """
    try:
        if version(path) == HEAD:
            return
    except (OSError, sqlite3.Error) as error:
        raise no_file(path, error) from error
    from aetherium.storage.schema import SqliteSchema

    SqliteSchema(path).ensure()


def version(path: Path) -> str | None:
    """The file's schema version; None for no file or an empty one."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(path, timeout=30.0)) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
    return None if row is None else str(row[0])


def server_url(text: str) -> sa.URL:
    """What people write as ``database_url``, for asyncpg. Raises InvalidInput, which does not repeat it."""
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError) as error:
        raise _no_url("it is not a URL") from error
    if url.drivername not in _SCHEMES:
        raise _no_url(f"it begins with {url.drivername}://")
    if unknown := sorted(url.query.keys() - _OPTIONS):
        raise _no_url(f"it has the option {unknown[0]!r}; there are {', '.join(sorted(_OPTIONS))}")
    options = {"ssl" if key == "sslmode" else key: value for key, value in url.query.items()}
    return url.set(drivername="postgresql+asyncpg", query=options)


def _no_url(why: str) -> InvalidInput:
    return InvalidInput(
        f"The setting database_url cannot be used: {why}.",
        hint="Write postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
        field="database_url",
    )


async def require(url: sa.URL) -> None:
    """Refuse a server's database that has another schema.

    Raises Conflict that says which it has and what to do, Unavailable if the server cannot be reached.
    """
    engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True)
    try:
        async with engine.connect() as connection:
            found = None
            if await connection.scalar(sa.text("SELECT to_regclass('alembic_version')")):
                found = await connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    except (DBAPIError, OSError) as error:
        raise no_server(url, error) from error
    finally:
        await engine.dispose()
    if found != HEAD:
        raise misfit(name(url), found)


def misfit(database: str, found: str | None) -> Conflict:
    """The error for a database with another schema than this version's."""
    if found is None:
        message, hint = f"The database {database} has no tables yet.", "Make them: aetherium db upgrade"
    elif found < HEAD:
        message = f"The database {database} has the schema {found}; this version of Aetherium needs {HEAD}."
        hint = "End the services of the older version, then: aetherium db upgrade"
    else:
        message = f"The database {database} has the schema {found}, made by a newer version of Aetherium."
        hint = f"Use that version, or with it: aetherium db downgrade {HEAD}"
    return Conflict(message, hint=hint, found=found, known=HEAD)


def no_file(path: Path, error: Exception, what: str = "opened") -> Unavailable:
    """The error for a file that cannot be used."""
    return Unavailable(
        f"The database {path} cannot be {what}: {_cause(error)}.",
        hint="See that the file and its directory can be written, and that the disk has room.",
    )


def no_server(url: sa.URL, error: Exception) -> Unavailable:
    """The error for a server that cannot be used."""
    return Unavailable(
        f"The database {name(url)} cannot be used: {_cause(error)}.",
        hint="See that the server runs, and that the setting database_url is right.",
    )


def name(url: sa.URL) -> str:
    """The URL as people may see it."""
    return url.render_as_string(hide_password=True)


def _cause(error: Exception) -> object:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause) or type(cause).__name__
