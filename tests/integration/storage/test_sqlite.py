"""Migrations of a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from aetherium.domain.errors import Unavailable
from aetherium.storage.migrating import HEAD, migrate, version
from aetherium.storage.schema import SqliteSchema
from tests.integration.storage.live import content, fill, on
from tests.integration.storage.migrations import MigrationsContract


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "a % and ? in its path" / "test.db"


@pytest.fixture
def schema(database: Path) -> SqliteSchema:
    return SqliteSchema(database)


class TestMigrationsOfSqlite(MigrationsContract):
    """See MigrationsContract."""


async def test_opening_migrates_and_keeps_what_there_is(database: Path, schema: SqliteSchema) -> None:
    await schema.upgrade("0001")
    await on(database, fill)
    names = [row["name"] for row in (await on(database, content))["vms"]]
    migrate(database)
    assert version(database) == HEAD
    assert [row["name"] for row in (await on(database, content))["vms"]] == names
    assert await on(database, lambda c: c.execute(sa.text("PRAGMA foreign_key_check")).all()) == []


async def test_a_look_makes_no_file(database: Path, schema: SqliteSchema) -> None:
    assert await schema.current() is None
    assert await schema.check()
    assert not database.parent.exists()


@pytest.fixture
def no_database(database: Path) -> Path:
    database.parent.mkdir()
    database.write_bytes(b"this is no database, and long enough to be read as one " * 40)
    return database


async def test_what_is_no_database_is_refused(no_database: Path) -> None:
    schema = SqliteSchema(no_database)
    with pytest.raises(Unavailable, match="cannot be opened"):
        await schema.check()
    with pytest.raises(Unavailable, match="cannot be migrated"):
        await schema.upgrade()
