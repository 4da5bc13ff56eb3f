"""One cluster for the tests of this package: each leaves it whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.faults.cluster.cluster import Cluster, open_cluster
from tests.fixtures.images import base_image_store
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.redis import RedisServer

__all__ = ["base_image_store"]


@pytest.fixture(scope="module")
async def cluster(
    postgres_server: PostgresServer, redis_server: RedisServer, postgres_migrated: str
) -> AsyncIterator[Cluster]:
    url = await postgres_server.create_database(postgres_migrated)
    async with open_cluster(postgres_server, redis_server, url) as cluster:
        yield cluster
    await postgres_server.drop_database(url)
