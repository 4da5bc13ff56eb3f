"""The process that started a VM is killed; another one goes on with the VM, or removes it."""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aetherium.domain.ids import VM, new_id
from aetherium.drivers.qemu import QemuDriver
from aetherium.interfaces.drivers import Condition, Launch, VMHandle
from aetherium.process import spawned
from tests.contract.drivers.base import names, processes_in
from tests.fixtures.vms import RESOURCES, WarmSnapshot, connected

pytestmark = pytest.mark.vm

# Starts a VM, says its handle, and stays until it is killed.
STARTER = """
import asyncio, base64, dataclasses, json, pickle, sys
from aetherium.drivers.qemu import QemuDriver

async def main():
    root, launch, data, directory = pickle.loads(base64.b64decode(sys.argv[1]))
    handle = await QemuDriver(root).restore(launch, data, directory)
    print(json.dumps(dict(handle.data)), flush=True)
    await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""


@asynccontextmanager
async def starter(
    root: Path, launch: Launch, warm: WarmSnapshot
) -> AsyncIterator[asyncio.subprocess.Process]:
    given = b64encode(pickle.dumps((root, launch, warm.data, warm.directory))).decode()
    argv = [sys.executable, "-c", STARTER, given]
    async with spawned(argv, stdout=asyncio.subprocess.PIPE) as process:
        yield process


async def test_a_vm_outlives_its_starter(
    qemu_driver: QemuDriver, qemu_root: Path, warm_snapshot: WarmSnapshot
) -> None:
    launch = Launch(new_id(VM), warm_snapshot.launch.image, RESOURCES)
    try:
        async with starter(qemu_root / "vms", launch, warm_snapshot) as process:
            assert process.stdout is not None
            data = json.loads(await process.stdout.readline())
            process.kill()
            await process.wait()
        handle = VMHandle("qemu", launch.vm_id, 1, data)
        assert (await qemu_driver.recover(handle)).condition is Condition.RUNNING
        vm = await connected(qemu_driver, handle)
        assert (await vm.sh("exit 7"))[0].exit_code == 7
        await vm.guest.close()
    finally:
        await qemu_driver.delete(launch.vm_id)
    assert launch.vm_id not in names(qemu_root / "vms")


@pytest.mark.parametrize("file", ["disk-0", "qemu.log", "pid", "qmp.sock"])
async def test_a_starter_killed_in_the_middle_leaves_what_delete_finds(
    qemu_driver: QemuDriver, qemu_root: Path, warm_snapshot: WarmSnapshot, file: str
) -> None:
    launch = Launch(new_id(VM), warm_snapshot.launch.image, RESOURCES)
    home = qemu_root / "vms" / launch.vm_id
    async with starter(qemu_root / "vms", launch, warm_snapshot) as process:
        async with asyncio.timeout(30):
            while file not in names(home):  # noqa: ASYNC110  # one turn each: the event is a file's appearance
                await asyncio.sleep(0)
        process.kill()
        await process.wait()
    assert launch.vm_id in await qemu_driver.owned()
    await qemu_driver.delete(launch.vm_id)
    assert launch.vm_id not in await qemu_driver.owned()
    assert not processes_in(home)
