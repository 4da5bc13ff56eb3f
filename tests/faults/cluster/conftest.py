"""One cluster for the tests of a module, as long as they leave it whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack

import pytest

from tests.faults.cluster.cluster import Cluster, open_cluster
from tests.fixtures.images import base_image_store
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.redis import RedisServer

__all__ = ["base_image_store"]

_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note failures, so that the next test gets another cluster."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


class Clusters:
    """Opens a cluster when there is none."""

    def __init__(self, postgres: PostgresServer, redis: RedisServer, template: str) -> None:
        self._postgres = postgres
        self._redis = redis
        self._template = template
        self._open = AsyncExitStack()
        self._cluster: Cluster | None = None

    async def get(self) -> Cluster:
        """The one that there is, or a new one."""
        if self._cluster is None:
            url = await self._postgres.create_database(self._template)
            self._open.push_async_callback(self._postgres.drop_database, url)
            self._cluster = await self._open.enter_async_context(
                open_cluster(self._postgres, self._redis, url)
            )
        return self._cluster

    async def close(self) -> None:
        """End it."""
        self._cluster = None
        await self._open.aclose()


@pytest.fixture(scope="module")
async def clusters(
    postgres_server: PostgresServer, redis_server: RedisServer, postgres_migrated: str
) -> AsyncIterator[Clusters]:
    clusters = Clusters(postgres_server, redis_server, postgres_migrated)
    yield clusters
    await clusters.close()


@pytest.fixture
async def cluster(clusters: Clusters, request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    cluster = await clusters.get()
    yield cluster
    if request.node.stash.get(_FAILED, False):
        print(cluster.complaints())
        await clusters.close()
