"""SQLAlchemy over aiosqlite with one trip for each statement."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from aetherium.storage import sqlite_driver


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(
        "sqlite+aiosqlite:///", async_creator=lambda: sqlite_driver.connect(tmp_path / "db", 1.0)
    )
    async with engine.connect() as connection:
        await connection.execute(sa.text("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"))
        yield connection
    await engine.dispose()


async def _add(connection: AsyncConnection, *names: str) -> sa.CursorResult[Any]:
    statement = sa.text("INSERT INTO things (name) VALUES (:name)")
    return await connection.execute(statement, [{"name": name} for name in names])


async def test_rows_counts_and_ids_are_what_sqlite_says(connection: AsyncConnection) -> None:
    await _add(connection, "a", "b")
    assert (await _add(connection, "c")).lastrowid == 3
    found = await connection.execute(sa.text("SELECT id, name FROM things ORDER BY id"))
    assert [tuple(row) for row in found] == [(1, "a"), (2, "b"), (3, "c")]
    changed = await connection.execute(sa.text("UPDATE things SET name = name || '!' WHERE id > 1"))
    assert changed.rowcount == 2
    assert (await connection.execute(sa.text("SELECT id FROM things WHERE id > 9"))).all() == []


async def test_a_statement_that_fails_leaves_the_connection_usable(connection: AsyncConnection) -> None:
    await _add(connection, "a")
    with pytest.raises(IntegrityError):
        await _add(connection, "a")
    assert await connection.scalar(sa.text("SELECT count(*) FROM things")) == 1


async def test_a_statement_is_one_trip(connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    trips: list[object] = []
    driver: Any = (await connection.get_raw_connection()).driver_connection
    put = driver._tx.put_nowait

    class Counting:
        def put_nowait(self, item: object) -> None:
            trips.append(item)
            put(item)

    monkeypatch.setattr(driver, "_tx", Counting())
    await connection.execute(sa.text("SELECT 1"))
    assert len(trips) == 1
