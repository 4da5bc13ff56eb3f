"""The Store in SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aetherium.interfaces.clock import Clock
from aetherium.interfaces.store import Store
from aetherium.storage.database import Database
from aetherium.storage.executions import SqlExecutions
from aetherium.storage.jobs import SqlJobs
from aetherium.storage.migrating import migrate
from aetherium.storage.snapshots import SqlSnapshots
from aetherium.storage.vms import SqlVMs


class SqlStore:
    """See interfaces/store.py."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self.vms = SqlVMs(database, clock)
        self.executions = SqlExecutions(database)
        self.snapshots = SqlSnapshots(database)
        self.jobs = SqlJobs(database)

    async def close(self) -> None:
        await self._database.close()


@asynccontextmanager
async def open_store(path: Path, clock: Clock) -> AsyncIterator[SqlStore]:
    """The store in the file `path`, made or migrated if need be. Raises Conflict and Unavailable."""
    await asyncio.to_thread(migrate, path)
    store = SqlStore(Database(path), clock)
    try:
        yield store
    finally:
        await store.close()


_: type[Store] = SqlStore
