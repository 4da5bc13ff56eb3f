"""The database file and its schema."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from aetherium.domain.errors import Conflict, Unavailable
from aetherium.process import run
from aetherium.storage import migrations
from aetherium.storage.migrating import HEAD, migrate, version
from aetherium.storage.tables import metadata


def test_the_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    migrate(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        differences = [
            change
            for change in compare_metadata(context, metadata)
            if not (isinstance(change, list) and change[0][0] == "modify_type")
        ]
    engine.dispose()
    assert differences == []


def test_head_is_the_newest_migration() -> None:
    directory = Path(migrations.__path__[0]) / "versions"
    assert sorted(directory.glob("0*.py"))[-1].name.startswith(HEAD)


async def test_opening_a_current_database_does_not_load_alembic(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    migrate(path)
    code = (
        "import sys; from pathlib import Path; from aetherium.storage.migrating import migrate;"
        "migrate(Path(sys.argv[1])); print('alembic' in sys.modules)"
    )
    done = await run([sys.executable, "-c", code, str(path)])
    assert done.stdout == b"False\n"


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    migrate(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(Conflict, match="newer version"):
        migrate(path)
    assert version(path) == "9999"


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    path.write_bytes(b"this is no database, and long enough to be read as one " * 40)
    with pytest.raises(Unavailable, match="cannot be opened"):
        migrate(path)
