"""A process is killed in the middle of a snapshot: the VM, which stands still meanwhile, goes on."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from aetherium.bootstrap import Platform
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.vms import VMSpec, VMState
from aetherium.images.store import DiskImageStore
from aetherium.interfaces.drivers import Condition
from aetherium.process import spawned
from aetherium.services.connections import handle_of
from tests.fixtures.images import base_image_store
from tests.fixtures.platform import data_dir, qemu_platform

__all__ = ["base_image_store", "data_dir"]

pytestmark = pytest.mark.vm

# Does what its last argument says to the VM "it".
VICTIM = """
import asyncio, sys
from pathlib import Path
from aetherium.images.store import DiskImageStore
from tests.fixtures.platform import qemu_platform

async def main():
    data_dir = Path(sys.argv[1])
    async with qemu_platform(data_dir, DiskImageStore(data_dir / "images"), background=False) as platform:
        await (platform.snapshots.create("it") if sys.argv[2] == "snapshots" else platform.vms.fork("it", 2))

asyncio.run(main())
"""
# Enough memory for the snapshot to take a while.
FILL = "head -c 60000000 /dev/zero | tr '\\0' x > /dev/shm/full"


async def killed_when(data_dir: Path, kind: str, file: str) -> None:
    """Kill a process as soon as it has begun to write that file of a snapshot."""

    def there(pattern: str) -> bool:
        return any(data_dir.glob(pattern))

    async with spawned([sys.executable, "-c", VICTIM, str(data_dir), kind]) as process:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(there, f"{kind}/.*.part/{file}"):
                assert process.returncode is None
        process.kill()
        await process.wait()
    assert await asyncio.to_thread(there, f"{kind}/.*.part"), "it was killed too late"


async def condition(platform: Platform) -> Condition:
    """What the VM does."""
    vm = await platform.vms.get("it")
    return (await platform.host.drivers.get(vm.driver).inspect(handle_of(vm))).condition


@pytest.mark.parametrize(
    ("kind", "file"), [("snapshots", "device"), ("snapshots", "memory"), ("forks", "memory")]
)
async def test_the_vm_goes_on_and_nothing_is_left(
    data_dir: Path, base_image_store: DiskImageStore, kind: str, file: str
) -> None:
    async with qemu_platform(data_dir, base_image_store, background=False) as platform:
        vm = await platform.vms.create(VMSpec(name="it"))
        await platform.executions.run("it", ExecutionSpec(("sh", "-c", FILL)))
        await killed_when(data_dir, kind, file)
        assert await condition(platform) is Condition.PAUSED
    async with qemu_platform(data_dir, base_image_store, background=False) as platform:
        assert (await platform.vms.get("it")).state is VMState.RUNNING
        assert await condition(platform) is Condition.RUNNING
        _, out, _ = await platform.executions.run("it", ExecutionSpec(("wc", "-c", "/dev/shm/full")))
        assert out.split()[0] == b"60000000"
        assert await platform.snapshots.list() == []
        assert [*(data_dir / "snapshots").glob("*"), *(data_dir / "forks").glob("*")] == []
        assert list(await platform.host.images.holders(vm.image_digest)) == [vm.id]
        assert [each.id for each in await platform.host.store.vms.list()] == [vm.id]
        snapshot = await platform.snapshots.create("it")  # the next one finds nothing in its way
        await platform.snapshots.delete(snapshot.id)
        await platform.vms.delete("it")
