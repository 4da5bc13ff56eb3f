"""A process that counts in a VM's row: ``… -m tests.contract.store.counting DATABASE VM TIMES TASKS``."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from aetherium.domain.vms import VM
from aetherium.interfaces.clock import SystemClock
from aetherium.storage.store import open_store


def one_more(vm: VM) -> VM:
    """A read-modify-write."""
    return replace(vm, reason=str(int(vm.reason or "0") + 1))


async def count(path: Path, vm_id: str, times: int, tasks: int) -> None:
    """`times` increments, divided among `tasks` that run at once."""
    async with open_store(path, SystemClock()) as store:

        async def work() -> None:
            for _ in range(times // tasks):
                await store.vms.edit(vm_id, one_more)

        await asyncio.gather(*(work() for _ in range(tasks)))


if __name__ == "__main__":
    asyncio.run(count(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
