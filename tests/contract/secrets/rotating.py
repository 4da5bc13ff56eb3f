"""A process that rotates the key, and is killed (SIGKILL) in the middle, if so told.

Arguments: the database (a path or URL), the setting master_key, and after how many batches, and whether
``before`` or ``after`` the last one is committed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from aetherium.interfaces.clock import SystemClock
from aetherium.interfaces.secrets import SealedSecret, SealedValue
from aetherium.services.secrets.database import DatabaseSecrets
from aetherium.services.secrets.envelope import MasterKeys
from aetherium.storage.database import Database, PostgresDatabase, SqliteDatabase
from aetherium.storage.secrets import SqlSecrets
from aetherium.storage.store import SqlStore


class KilledSecrets(SqlSecrets):
    """Ends the process in or behind one of its batches."""

    def __init__(self, database: Database, batches: int, when: str) -> None:
        super().__init__(database)
        self._left = batches
        self._when = when

    async def rewrap(self, changes: Sequence[tuple[SealedSecret, SealedValue]]) -> int:
        self._left -= 1
        if self._left == 0 and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = await super().rewrap(changes)
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done


async def main(where: str, master: str, batches: int, when: str) -> None:
    """Rotate."""
    clock = SystemClock()
    database: Database
    if where.startswith("postgresql"):
        database = PostgresDatabase(sa.make_url(where))
    else:
        database = SqliteDatabase(Path(where), clock)
    store = SqlStore(database, clock)
    store.secrets = KilledSecrets(database, batches, when)
    await DatabaseSecrets(store, MasterKeys(master)).rotate_key()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
