"""Migrations of a server's database, and services that refuse another schema than theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg  # type: ignore[import-untyped]  # it has none
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from aetherium.domain.errors import Conflict, Unavailable
from aetherium.interfaces.clock import SystemClock
from aetherium.interfaces.schema import BASE
from aetherium.storage.migrating import HEAD
from aetherium.storage.schema import PostgresSchema
from aetherium.storage.store import open_store
from tests.fixtures.ports import HOST, free_port
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.waiting import eventually
from tests.integration.storage.live import content, fill, on, statement
from tests.integration.storage.migrations import REVISIONS, MigrationsContract


@pytest.fixture
def database(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
def schema(database: str) -> PostgresSchema:
    return PostgresSchema(sa.make_url(database))


class TestMigrationsOfPostgres(MigrationsContract):
    """See MigrationsContract."""

    async def test_other_types_are_told(self, schema: PostgresSchema, database: str) -> None:
        await schema.upgrade()
        for change in ("reason TYPE varchar(9)", "driver DROP NOT NULL", "project_id SET DEFAULT 'x'"):
            await on(database, statement(f"ALTER TABLE vms ALTER {change}"))
        await on(database, statement("COMMENT ON COLUMN vms.id IS 'mine'"))
        assert {(item.kind, item.name) for item in await schema.check()} == {
            ("different", f"vms.{column}") for column in ("id", "reason", "driver", "project_id")
        }


async def test_of_several_at_once_one_migrates(database: str, schema: PostgresSchema) -> None:
    done = await asyncio.gather(*(schema.upgrade() for _ in range(4)))
    assert sorted(done, key=len) == [[], [], [], REVISIONS]


@asynccontextmanager
async def _a_reader(database: str) -> AsyncIterator[None]:
    """A service in the middle of a transaction that has read from `vms`."""
    engine = create_async_engine(database, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(sa.text("SELECT count(*) FROM vms"))
        yield
        await connection.rollback()
    await engine.dispose()


async def test_tables_in_use_are_left_alone(database: str, schema: PostgresSchema) -> None:
    await schema.upgrade("0001")
    async with _a_reader(database):
        with pytest.raises(Unavailable, match="in use"):
            await PostgresSchema(sa.make_url(database), lock_s=0.05).upgrade()
        assert await schema.current() == "0001"
    assert await schema.upgrade() == REVISIONS[1:]


async def test_a_server_killed_in_the_middle_leaves_all_as_it_was(
    database: str, schema: PostgresSchema, postgres_server: PostgresServer
) -> None:
    await schema.upgrade("0001")
    await on(database, fill)
    before = await on(database, content)
    engine = create_async_engine(database, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(sa.text("SELECT count(*) FROM snapshots"))  # VMs are changed before them
        upgrade = asyncio.ensure_future(schema.upgrade())
        await eventually(lambda: _somebody_waits(postgres_server))
        await postgres_server.kill()
        with pytest.raises(Unavailable):
            await upgrade
        await connection.invalidate()
    await engine.dispose()
    assert await schema.current() == "0001"
    assert await on(database, content) == before
    assert await schema.upgrade() == REVISIONS[1:]


async def _somebody_waits(server: PostgresServer) -> bool:
    return bool(await server.execute("SELECT 1 FROM pg_locks WHERE NOT granted"))


@pytest.mark.parametrize(
    ("revision", "message", "hint"),
    [
        (None, "has no tables yet", "aetherium db upgrade"),
        (BASE, "has no tables yet", "aetherium db upgrade"),
        ("0001", f"has the schema 0001; this version of Aetherium needs {HEAD}", "aetherium db upgrade"),
        ("9999", "has the schema 9999, made by a newer version", f"aetherium db downgrade {HEAD}"),
    ],
)
async def test_services_refuse_another_schema(
    database: str, schema: PostgresSchema, revision: str | None, message: str, hint: str
) -> None:
    if revision is not None:
        await schema.upgrade()
    if revision == "9999":
        await on(database, statement("UPDATE alembic_version SET version_num = '9999'"))
    elif revision is not None:
        await schema.downgrade(revision)
    with pytest.raises(Conflict, match=message) as refused:
        async with open_store(database, SystemClock()):
            pass
    assert hint in refused.value.hint
    assert str(sa.make_url(database).password) not in str(refused.value)


async def test_services_start_with_theirs(postgres_store_url: str) -> None:
    async with open_store(postgres_store_url, SystemClock()) as store:
        assert await store.vms.list() == []


@pytest.mark.parametrize("wrong", ["port", "password", "database"])
async def test_a_server_that_cannot_be_used_is_named(database: str, wrong: str) -> None:
    url = sa.make_url(database).set(host=HOST, **{wrong: free_port() if wrong == "port" else "s3cret"})  # type: ignore[arg-type]
    text = url.render_as_string(hide_password=False)
    for attempt in (PostgresSchema(url).upgrade(), open_store(text, SystemClock()).__aenter__()):
        with pytest.raises(Unavailable, match="cannot be used") as failed:
            await attempt
        assert wrong == "database" or "s3cret" not in str(failed.value)
        assert str(url.password) not in str(failed.value)


@pytest.mark.parametrize(
    "error", [asyncpg.InterfaceError("closed"), asyncpg.CannotConnectNowError("starting")]
)
async def test_a_connection_that_is_lost_while_it_is_made(
    postgres_store_url: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def lost(*_: object, **__: object) -> None:
        raise error

    async with open_store(postgres_store_url, SystemClock()) as store:
        with monkeypatch.context() as patched:
            patched.setattr(asyncpg.Connection, "set_type_codec", lost)
            with pytest.raises(Unavailable):
                await store.now()
            with pytest.raises(Unavailable):
                await store.tasks.accept([])
        await store.now()
