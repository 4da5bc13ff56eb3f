"""The Store in SQL: all repositories over one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.interfaces.clock import Clock
from aetherium.interfaces.store import Store
from aetherium.storage import migrating
from aetherium.storage.audit import SqlAudit
from aetherium.storage.database import Bound, Database, PostgresDatabase, SqliteDatabase, now
from aetherium.storage.events import SqlEvents
from aetherium.storage.executions import SqlExecutions
from aetherium.storage.idempotency import SqlIdempotency
from aetherium.storage.identity import SqlAPIKeys, SqlMembers
from aetherium.storage.images import SqlImages
from aetherium.storage.jobs import SqlJobs
from aetherium.storage.leaders import SqlLeaders
from aetherium.storage.projects import SqlProjects
from aetherium.storage.queues import SqlQueues
from aetherium.storage.schedules import SqlSchedules
from aetherium.storage.scope import EVERYTHING, Scope
from aetherium.storage.secrets import SqlSecretKeys, SqlSecrets
from aetherium.storage.snapshots import SqlSnapshots
from aetherium.storage.tasks import SqlTasks
from aetherium.storage.vms import SqlVMs
from aetherium.storage.workers import SqlWorkers

T = TypeVar("T")

# Of so many projects the view is kept: making one takes as long as reading a row.
_MOST_VIEWS = 1000


class SqlStore:
    """See interfaces/store.py.

    Args:
        scope: the store as a worker sees it: what it adds is its own, and of VMs, executions and snapshots
            it sees only those; or as a tenant sees it. Otherwise all of them, as for orchestrators.
    """

    def __init__(self, database: Database, clock: Clock, *, scope: Scope = EVERYTHING) -> None:
        self._database = database
        self._clock = clock
        self._scope = scope
        self._views: dict[str, SqlStore] = {}
        self.vms = SqlVMs(database, clock, scope)
        self.executions = SqlExecutions(database, scope)
        self.snapshots = SqlSnapshots(database, scope)
        self.jobs = SqlJobs(database, scope)
        self.images = SqlImages(database)
        self.tasks = SqlTasks(database, scope)
        self.workers = SqlWorkers(database)
        self.schedules = SqlSchedules(database, scope)
        self.projects = SqlProjects(database, scope)
        self.queues = SqlQueues(database)
        self.events = SqlEvents(database, scope)
        self.leaders = SqlLeaders(database)
        self.secrets = SqlSecrets(database)
        self.secret_keys = SqlSecretKeys(database)
        self.api_keys = SqlAPIKeys(database, scope)
        self.members = SqlMembers(database, scope)
        self.audit = SqlAudit(database, scope)
        self.idempotency = SqlIdempotency(database)

    async def transaction(self, work: Callable[[Store], Awaitable[T]]) -> T:
        async def unit(connection: AsyncConnection) -> T:
            bound = Bound(connection, self._database)
            return await work(SqlStore(bound, self._clock, scope=self._scope))

        return await self._database.write(unit)

    def of_project(self, project_id: str) -> SqlStore:
        found = self._views.get(project_id)
        if found is None:
            if len(self._views) >= _MOST_VIEWS:
                self._views.clear()
            scope = replace(self._scope, project_id=project_id)
            found = self._views[project_id] = SqlStore(self._database, self._clock, scope=scope)
        return found

    async def now(self) -> datetime:
        return await self._database.read(lambda c: now(c, self._database))

    async def close(self) -> None:
        await self._database.close()


@asynccontextmanager
async def open_store(
    where: Path | str, clock: Clock, *, worker_id: str | None = None
) -> AsyncIterator[SqlStore]:
    """The store in a file, which is made or migrated if need be, or in the PostgreSQL database of a URL
    (``postgresql://…``), which has to have the present schema.

    Args:
        clock: the time of a store in a file; a server has its own.
        worker_id: the store as this worker sees it; see SqlStore.

    Raises Conflict and Unavailable.
    """
    database: Database
    if isinstance(where, Path):
        await asyncio.to_thread(migrating.migrate, where)
        database = SqliteDatabase(where, clock)
    else:
        url = migrating.server_url(where)
        await migrating.require(url)
        database = PostgresDatabase(url)
    store = SqlStore(database, clock, scope=Scope(worker_id))
    try:
        yield store
    finally:
        await store.close()


_: type[Store] = SqlStore
