"""Queries that are made all the time find their rows through an index, however many others there are."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from aetherium.storage.database import PostgresDatabase
from aetherium.storage.tables import DUE, GONE, OVERDUE, tasks
from tests.fixtures.postgres import PostgresServer

_MANY = 20_000
_ROWS = f"""
    INSERT INTO tasks (id, project_id, type, rank, state, task_group, created_at, updated_at, run_at,
        deadline, ended_at, parked, blockers, attempt, failures, max_attempts, vcpus, memory_mib, reason,
        error_code, error, spec)
    SELECT 'task_' || n, 'default', 't', 2, CASE n % 2 WHEN 0 THEN 'scheduled' ELSE 'dead' END, '', 0, 0,
        4102444800000000 + n, 4102444800000000 + n, CASE n % 2 WHEN 0 THEN NULL ELSE 4102444800000000 + n END,
        0, 0, 0, 0, 3, 0, 0, '', '', '', '{{}}'
    FROM generate_series(1, {_MANY}) AS n
"""  # noqa: S608 - a constant


@pytest.mark.parametrize(
    ("condition", "column"), [(DUE, tasks.c.run_at), (OVERDUE, tasks.c.deadline), (GONE, tasks.c.ended_at)]
)
async def test_postgresql_compares_with_its_time_in_the_index(
    postgres_server: PostgresServer, postgres_store_url: str, condition: str, column: sa.Column[object]
) -> None:
    await postgres_server.execute(_ROWS, postgres_store_url)
    await postgres_server.execute("ANALYZE tasks", postgres_store_url)
    database = PostgresDatabase(sa.make_url(postgres_store_url))
    query = sa.select(tasks.c.id).where(sa.text(condition), column <= database.moment())
    text = str(query.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]  # SQLAlchemy's
    await database.close()
    plan = "\n".join(
        str(row[0]) for row in await postgres_server.execute(f"EXPLAIN {text}", postgres_store_url)
    )
    assert f"Index Cond: ({column.name} <=" in plan, plan
