"""A process that records: ``-m tests.faults.recording DATABASE NAME``. Its output is what is durable."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from aetherium.domain.audit import AuditEvent
from aetherium.interfaces.clock import SystemClock
from aetherium.services.audit.log import open_audit_log
from aetherium.services.audit.signing import Signer
from aetherium.storage.store import open_store

MASTER = "a master key of some length"
_AT_ONCE = 8


async def record(where: Path | str, name: str) -> None:
    """Record until killed."""
    async with (
        open_store(where, SystemClock()) as store,
        open_audit_log(store.audit, Signer(MASTER)) as log,
        asyncio.TaskGroup() as group,
    ):

        async def work(task: int) -> None:
            number = 0
            while True:
                resource = f"{name}-{task}-{number}"
                await log.record(AuditEvent("system", "test", resource))
                os.write(1, f"{resource}\n".encode())
                log.note(AuditEvent("system", "test.ended", resource))
                number += 1

        for task in range(_AT_ONCE):
            group.create_task(work(task))


if __name__ == "__main__":
    place = sys.argv[1]
    asyncio.run(record(place if "://" in place else Path(place), sys.argv[2]))
