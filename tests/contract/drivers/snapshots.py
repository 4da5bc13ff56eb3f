"""The driver contract: snapshots, restores and forks."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aetherium.domain.errors import AetheriumError, AlreadyExists, Conflict, Unsupported
from aetherium.domain.ids import VM, new_id
from aetherium.domain.images import ImagePaths
from aetherium.domain.vms import Capability, Resources
from aetherium.interfaces.drivers import Condition, Launch, SnapshotData, VMDriver
from tests.contract.drivers.base import ContractBase, condition, names
from tests.fixtures.vms import RunningVM, connected

Restore = Callable[[SnapshotData, Path], Coroutine[Any, Any, RunningVM]]


class SnapshotContract(ContractBase):
    """A driver without these capabilities refuses, and the tests of what it cannot do are not run."""

    @pytest.fixture
    def forks(self, capabilities: frozenset[Capability]) -> None:
        if not {Capability.SNAPSHOT, Capability.FORK} <= capabilities:
            pytest.skip("the driver declares neither snapshot nor fork; that it refuses is tested")

    @pytest.fixture
    async def restore(
        self, driver: VMDriver, image: ImagePaths, resources: Resources
    ) -> AsyncIterator[Restore]:
        async with AsyncExitStack() as stack:

            async def make(data: SnapshotData, directory: Path) -> RunningVM:
                launch = Launch(new_id(VM), image, resources)
                stack.push_async_callback(driver.delete, launch.vm_id)
                vm = await connected(driver, await driver.restore(launch, data, directory))
                stack.push_async_callback(vm.guest.close)
                return vm

            yield make

    async def test_refuses_what_it_does_not_declare(
        self, driver: VMDriver, launch: Launch, capabilities: frozenset[Capability], tmp_path: Path
    ) -> None:
        if Capability.SNAPSHOT not in capabilities:
            handle = await driver.start(launch)
            with pytest.raises(Unsupported):
                await driver.snapshot(handle, tmp_path / "snapshot")
            await driver.delete(launch.vm_id)
        if Capability.FORK not in capabilities:
            with pytest.raises(Unsupported):
                await driver.restore(launch, SnapshotData(driver.name, 1, {}), tmp_path)
        assert launch.vm_id not in await driver.owned()
        assert not names(tmp_path)

    @pytest.mark.usefixtures("forks")
    async def test_forks_go_on_each_for_itself(self, vm: RunningVM, restore: Restore, tmp_path: Path) -> None:
        await vm.sh("echo disk > /root/before; echo memory > /dev/shm/before")
        begin = asyncio.get_running_loop().time()
        data = await vm.driver.snapshot(vm.handle, tmp_path / "s")
        assert data.size_bytes > 0
        assert asyncio.get_running_loop().time() - begin < 30
        assert await condition(vm.driver, vm.handle) is Condition.RUNNING
        digest = _digest(tmp_path / "s")
        forks = [await restore(data, tmp_path / "s") for _ in range(3)]
        for number, one in enumerate(forks):
            await one.sh(f"echo {number} > /root/own; echo {number} > /dev/shm/own")
        for number, one in enumerate(forks):
            _, stdout, _ = await one.sh("cat /root/before /dev/shm/before /root/own /dev/shm/own")
            assert stdout.split() == [b"disk", b"memory", b"%d" % number, b"%d" % number]
        assert (await vm.sh("ls /root/own /dev/shm/own"))[0].exit_code != 0
        assert _digest(tmp_path / "s") == digest

    @pytest.mark.usefixtures("forks")
    async def test_a_paused_vm_stays_paused(self, vm: RunningVM, tmp_path: Path) -> None:
        await vm.driver.pause(vm.handle)
        await vm.driver.snapshot(vm.handle, tmp_path / "s")
        assert await condition(vm.driver, vm.handle) is Condition.PAUSED

    @pytest.mark.usefixtures("forks")
    async def test_forks_of_forks(self, vm: RunningVM, restore: Restore, tmp_path: Path) -> None:
        for generation in range(3):
            await vm.sh(f"echo {generation} >> /root/line; echo {generation} >> /dev/shm/line")
            directory = tmp_path / f"s{generation}"
            data = await vm.driver.snapshot(vm.handle, directory)
            await vm.guest.close()
            await vm.driver.delete(vm.id)
            vm = await restore(data, directory)
            _, stdout, _ = await vm.sh("cat /root/line /dev/shm/line")
            assert stdout.split() == [b"%d" % past for past in range(generation + 1)] * 2

    @pytest.mark.usefixtures("forks")
    async def test_a_snapshot_may_go_while_its_forks_live(
        self, vm: RunningVM, restore: Restore, tmp_path: Path
    ) -> None:
        await vm.sh("head -c 20000000 /dev/urandom > /root/blob; sha256sum < /root/blob > /root/sum")
        data = await vm.driver.snapshot(vm.handle, tmp_path / "s")
        child = await restore(data, tmp_path / "s")
        shutil.rmtree(tmp_path / "s")
        check = "echo 3 > /proc/sys/vm/drop_caches; sha256sum < /root/blob | cmp - /root/sum"
        assert (await child.sh(check))[0].exit_code == 0
        grandchild = await restore(
            await child.driver.snapshot(child.handle, tmp_path / "s2"), tmp_path / "s2"
        )
        assert (await grandchild.sh(check))[0].exit_code == 0

    @pytest.mark.usefixtures("forks")
    async def test_many_at_once(self, vm: RunningVM, restore: Restore, tmp_path: Path) -> None:
        data = await vm.driver.snapshot(vm.handle, tmp_path / "s")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(restore(data, tmp_path / "s")) for _ in range(5)]
        results = await asyncio.gather(*(task.result().sh("cat /etc/machine-id") for task in tasks))
        assert len({stdout for _, stdout, _ in results}) == 5

    @pytest.mark.usefixtures("forks")
    async def test_all_or_nothing(self, vm: RunningVM, tmp_path: Path) -> None:
        (tmp_path / "taken").mkdir()
        with pytest.raises(AlreadyExists):
            await vm.driver.snapshot(vm.handle, tmp_path / "taken")
        task = asyncio.ensure_future(vm.driver.snapshot(vm.handle, tmp_path / "s"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert names(tmp_path) == {"taken"}
        assert await condition(vm.driver, vm.handle) is Condition.RUNNING
        await vm.driver.stop(vm.handle)
        with pytest.raises(Conflict):
            await vm.driver.snapshot(vm.handle, tmp_path / "s")
        assert names(tmp_path) == {"taken"}

    @pytest.mark.usefixtures("forks")
    async def test_a_damaged_or_foreign_snapshot_is_refused(
        self, vm: RunningVM, launch: Launch, tmp_path: Path
    ) -> None:
        driver = vm.driver
        data = await driver.snapshot(vm.handle, tmp_path / "s")
        bigger = replace(launch.resources, memory_mib=launch.resources.memory_mib * 2)
        with pytest.raises(Conflict):
            await driver.restore(replace(launch, resources=bigger), data, tmp_path / "s")
        with pytest.raises(AetheriumError):
            await driver.restore(launch, replace(data, data={}), tmp_path / "s")
        with pytest.raises(Unsupported):
            await driver.restore(launch, replace(data, version=999), tmp_path / "s")
        with pytest.raises(AetheriumError):
            await driver.restore(launch, data, tmp_path / "nowhere")
        assert launch.vm_id not in await driver.owned()


def _digest(directory: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(directory.iterdir())}
