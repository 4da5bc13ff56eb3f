"""A host process to be killed: ``python -m tests.faults.host fake|qemu DATA_DIR COUNT [IMAGES]``.

It makes COUNT VMs that outlive it, one that it owns, a pool of one, an execution in the first VM, a snapshot
and a fork of it, and prints ``ready``; then it goes on making and deleting VMs until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from aetherium.bootstrap import Platform
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.vms import VMSpec
from aetherium.images.store import DiskImageStore
from tests.fixtures.platform import fake_platform, qemu_platform
from tests.fixtures.waiting import eventually

POOL = [{"minimum": 1, "maximum": 1}]


def opened(kind: str, data_dir: Path, images: str) -> AbstractAsyncContextManager[Platform]:
    """The platform with a pool."""
    if kind == "qemu":
        return qemu_platform(data_dir, DiskImageStore(Path(images)), pool=POOL)
    return fake_platform(data_dir, forkable=True, pool=POOL)


async def main(kind: str, data_dir: Path, count: int, images: str) -> None:
    """See the module's docstring."""
    async with opened(kind, data_dir, images) as platform:
        print("open", flush=True)
        for number in range(count):
            await platform.vms.create(VMSpec(name=f"kept-{number}"))
        await platform.vms.create(VMSpec(name="owned"), owner=platform.host.owner)
        await platform.executions.start("kept-0", ExecutionSpec(("sh", "-c", "sleep 2; echo over; exit 9")))
        await platform.snapshots.create("kept-0", name="kept")
        await platform.vms.fork("kept-0", 1, names=("fork",))

        async def pooled() -> bool:
            return platform.pools.ready() == 1

        await eventually(pooled, within_s=60)
        print("ready", flush=True)
        while True:
            vm = await platform.vms.create(VMSpec())
            await platform.vms.delete(vm.id)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), (*sys.argv, "")[4]))
