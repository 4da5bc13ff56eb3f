"""A live schema, looked at and filled by what the database itself says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

T = TypeVar("T")
Row = Mapping[str, Any]
Content = Mapping[str, Sequence[Row]]

VERSIONS = "alembic_version"
ROWS = 3
# What migrations read has to have a meaning: by column, and by the revision from which on it looks like that.
_MEANINGFUL: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("vms", "spec"): {"0001": {"resources": {"vcpus": 2, "memory_mib": 512, "disk_mib": 16}, "name": "ü"}},
    ("jobs", "job"): {
        "0001": {
            "steps": [{"name": "first"}, {"name": "second"}],
            "artifacts": [{"path": "a.txt"}, {"path": "b.txt"}],
            "outcome": None,
        },
        "0002": {"outcome": None},
    },
    ("artifacts", "artifact"): {"0002": {"path": "a.txt"}},
    ("artifacts", "path"): {"0002": "a.txt"},
}
_BEGIN = 1_700_000_000_000_000


def where(database: Path | str) -> sa.URL:
    """The URL of a file, or of a server's database."""
    if isinstance(database, Path):
        return sa.URL.create("sqlite+aiosqlite", database=str(database))
    return sa.make_url(database)


async def on(database: Path | str, work: Callable[[sa.Connection], T]) -> T:
    """Do `work` in a transaction."""
    engine = create_async_engine(where(database), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def statement(text: str) -> Callable[[sa.Connection], None]:
    """Work for `on`: one statement."""

    def work(connection: sa.Connection) -> None:
        connection.exec_driver_sql(text)

    return work


def fill(connection: sa.Connection) -> None:
    """Put some rows into each table; those that refer to others fit to these."""
    revision = str(connection.scalar(sa.text("SELECT version_num FROM alembic_version")))
    for table in _tables(connection):
        rows = [_row(table, number, revision) for number in range(ROWS)]
        connection.execute(sa.insert(table), rows)


def content(connection: sa.Connection) -> Content:
    """All rows of all tables, by their primary keys."""
    found = {}
    for table in _tables(connection):
        rows = connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings()
        found[table.name] = [dict(row) for row in rows]
    return found


def _tables(connection: sa.Connection) -> Sequence[sa.Table]:
    """The tables, those first that others refer to."""
    live = sa.MetaData()
    live.reflect(connection)
    return [table for table in live.sorted_tables if table.name != VERSIONS]


def _row(table: sa.Table, number: int, revision: str) -> dict[str, Any]:
    """The first row has NULL wherever it may be."""
    return {
        column.name: None if column.nullable and number == 0 else _value(column, number, revision)
        for column in table.columns
    }


def _value(column: sa.Column[Any], number: int, revision: str) -> Any:
    for key in column.foreign_keys:
        return _value(key.column, number, revision)
    place = (column.table.name, column.name)
    known = _MEANINGFUL.get(place, {})
    if since := max((each for each in known if each <= revision), default=None):
        return known[since]
    return _invented(column.type, ".".join(place), number)


def _invented(kind: Any, place: str, number: int) -> Any:
    if isinstance(kind, sa.JSON):
        return {"of": place, "number": number}
    if isinstance(kind, sa.Boolean):
        return number % 2 == 1
    if isinstance(kind, sa.Float):
        return number + 0.5
    if isinstance(kind, sa.BigInteger):
        return _BEGIN + number
    if isinstance(kind, sa.Integer):
        return number
    if isinstance(kind, sa.LargeBinary):
        return bytes([0, 255, number])
    assert isinstance(kind, sa.String), f"No value is known for {place}, which is {kind}."
    return f"{number}ü{place}"[: kind.length]


def catalog(connection: sa.Connection) -> Mapping[str, Any]:
    """All that the database has recorded about the schema, in its own words."""
    sqlite = connection.dialect.name == "sqlite"
    return _sqlite_catalog(connection) if sqlite else _postgres_catalog(connection)


def _sqlite_catalog(connection: sa.Connection) -> Mapping[str, Any]:
    def rows(query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.exec_driver_sql(query)]

    found: dict[str, Any] = {
        name: text and " ".join(text.split())
        for name, text in rows("SELECT name, sql FROM sqlite_master WHERE type = 'index'")
        if not name.startswith("sqlite_autoindex")
    }
    for (table,) in rows("SELECT name FROM sqlite_master WHERE type = 'table'"):
        columns = {row[1]: row[2:] for row in rows(f"PRAGMA table_info({table})")}
        indexes = sorted(row[2:] for row in rows(f"PRAGMA index_list({table})"))
        references = sorted(row[2:] for row in rows(f"PRAGMA foreign_key_list({table})"))
        found[table] = (columns, indexes, references)
    found.pop(VERSIONS, None)
    return found


_POSTGRES = {
    "columns": """
        SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'""",
    "indexes": """
        SELECT indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'""",
    "constraints": """
        SELECT conname, conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid <> 'alembic_version'::regclass""",
}


def _postgres_catalog(connection: sa.Connection) -> Mapping[str, Any]:
    return {
        what: sorted(tuple(map(str, row)) for row in connection.exec_driver_sql(query))
        for what, query in _POSTGRES.items()
    }
