"""PostgreSQL and Redis as durable as in production, for the time of a benchmark."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.redis import RedisServer

from aetherium.storage.schema import PostgresSchema


@dataclass(frozen=True, slots=True)
class Services:
    """Servers of our own: fsync and synchronous commits here, an append-only file there."""

    postgres: PostgresServer
    redis: RedisServer
    scratch: Path

    async def database(self) -> str:
        """The URL of a fresh database with the present schema."""
        url = await self.postgres.create_database()
        await PostgresSchema(sa.make_url(url)).upgrade()
        return url

    async def empty_database(self) -> str:
        """The URL of a fresh database without anything."""
        return await self.postgres.create_database()


@asynccontextmanager
async def services() -> AsyncIterator[Services]:
    """Both, as children that end with the block."""
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aetherium-bench-tasks-")))
        _make_room(scratch)
        postgres = PostgresServer(scratch / "postgres", free_port())
        redis = RedisServer(scratch / "redis", free_port())
        for server in (postgres, redis):
            stack.push_async_callback(server.stop)
            await server.start()
        # What the documentation asks for. The tests' `always` would slow the baselines down, not us.
        await redis.execute("CONFIG", "SET", "appendfsync", "everysec")
        yield Services(postgres, redis, scratch)


def _make_room(scratch: Path) -> None:
    """PostgreSQL runs as a user of its own, which has to get there and to make its directory."""
    scratch.chmod(0o711)
    for name in ("postgres", "redis"):
        (scratch / name).mkdir()
    (scratch / "postgres").chmod(0o1777)
