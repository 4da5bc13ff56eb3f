"""What a guest can do to its host through the driver: fill its disk, write to the console for ever, panic,
hang."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from aetherium.domain.errors import AetheriumError
from aetherium.domain.ids import VM, new_id
from aetherium.domain.images import ImagePaths
from aetherium.domain.vms import Resources
from aetherium.drivers.qemu import QemuDriver, console
from aetherium.drivers.qemu.files import allocated
from aetherium.interfaces.drivers import Condition, Launch
from tests.fixtures.vms import Fork, RunningVM, WarmSnapshot, connected

pytestmark = pytest.mark.vm
DEADLINE_S = 60.0


async def crash_kernel(vm: RunningVM) -> None:
    """The answer may not come any more."""
    with suppress(AetheriumError):
        await vm.sh("echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger")


async def test_a_full_disk_is_the_guests_problem(
    qemu_driver: QemuDriver, qemu_root: Path, base_paths: ImagePaths
) -> None:
    launch = Launch(new_id(VM), base_paths, Resources(vcpus=1, memory_mib=384, disk_mib=64))
    try:
        vm = await connected(qemu_driver, await qemu_driver.start(launch))
        result, _, stderr = await vm.sh("dd if=/dev/urandom of=/root/fill bs=1M count=200")
        assert result.exit_code == 1
        assert b"No space left on device" in stderr
        home = qemu_root / "vms" / vm.id
        assert sum(allocated(file) for file in home.glob("disk-*")) < 80 << 20
        assert (await qemu_driver.inspect(vm.handle)).disk_bytes > 32 << 20
        assert (await vm.sh("rm /root/fill && sync && echo again > /root/fill"))[0].ok
        await vm.guest.close()
    finally:
        await qemu_driver.delete(launch.vm_id)


async def test_freed_space_goes_back_to_the_host(vm: RunningVM, qemu_driver: QemuDriver) -> None:
    await vm.sh("dd if=/dev/urandom of=/root/fill bs=1M count=40; sync")
    before = (await qemu_driver.inspect(vm.handle)).disk_bytes
    assert before > 40 << 20
    await vm.sh("rm /root/fill; sync; fstrim / 2>/dev/null; sync")
    assert (await qemu_driver.inspect(vm.handle)).disk_bytes <= before


async def test_an_endless_console_is_cut(vm: RunningVM, qemu_driver: QemuDriver, qemu_root: Path) -> None:
    home = qemu_root / "vms" / vm.id
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(qemu_driver.wait(vm.handle))  # as whoever owns the VM does
        await vm.sh("head -c 1500000 /dev/zero | tr '\\0' x > /dev/ttyS0; echo the-end > /dev/ttyS0")
        assert (await qemu_driver.console(vm.id)).rstrip().endswith(b"the-end")
        kept = sum(file.stat().st_size for file in home.glob("console.*"))
        assert kept <= 2 * console.KEEP_BYTES
        waiting.cancel()


async def test_a_panic_is_told_from_other_ends(vm: RunningVM, qemu_driver: QemuDriver) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(qemu_driver.wait(vm.handle))
        crash = group.create_task(crash_kernel(vm))
        async with asyncio.timeout(DEADLINE_S):
            found = await waiting
        crash.cancel()
    assert found.condition is Condition.PANICKED
    assert "sysrq" in found.reason
    assert b"Kernel panic" in await qemu_driver.console(vm.id)


async def test_a_hung_vm_is_seen_and_can_be_deleted(vm: RunningVM, qemu_driver: QemuDriver) -> None:
    pid = (await qemu_driver.inspect(vm.handle)).pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(3):
        assert (await qemu_driver.inspect(vm.handle)).condition is Condition.HUNG
    await qemu_driver.delete(vm.id)
    assert (await qemu_driver.inspect(vm.handle)).condition is Condition.GONE


async def test_one_guest_does_not_see_another(fork: Fork) -> None:
    one, other = await fork(), await fork()
    await one.sh("echo secret > /dev/shm/secret")
    assert (await other.sh("cat /dev/shm/secret"))[0].exit_code != 0
    _, randoms, _ = await one.sh("od -An -N16 -tx1 /dev/urandom; cat /etc/machine-id")
    _, other_randoms, _ = await other.sh("od -An -N16 -tx1 /dev/urandom; cat /etc/machine-id")
    assert not set(randoms.split(b"\n")) & set(other_randoms.split(b"\n")) - {b""}


async def test_forks_share_memory(fork: Fork, qemu_driver: QemuDriver, warm_snapshot: WarmSnapshot) -> None:
    vms = [await fork() for _ in range(4)]
    sizes = [(await qemu_driver.inspect(one.handle)).memory_bytes for one in vms]
    assert max(sizes) < warm_snapshot.launch.resources.memory_mib << 19, "half of its memory"


async def test_several_processors(qemu_driver: QemuDriver, base_paths: ImagePaths, tmp_path: Path) -> None:
    launch = Launch(new_id(VM), base_paths, Resources(vcpus=2, memory_mib=384, disk_mib=64))
    child = Launch(new_id(VM), base_paths, launch.resources)
    try:
        vm = await connected(qemu_driver, await qemu_driver.start(launch))
        assert (await vm.sh("nproc"))[1] == b"2\n"
        await vm.guest.close()
        data = await qemu_driver.snapshot(vm.handle, tmp_path / "s")
        again = await connected(qemu_driver, await qemu_driver.restore(child, data, tmp_path / "s"))
        assert (await again.sh("nproc"))[1] == b"2\n"
        await again.guest.close()
    finally:
        await qemu_driver.delete(launch.vm_id)
        await qemu_driver.delete(child.vm_id)


async def test_a_broken_image_fails_and_leaves_nothing(
    qemu_driver: QemuDriver, base_paths: ImagePaths, tmp_path: Path
) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(b"this is no kernel")
    for broken in (kernel, tmp_path / "missing"):
        image = ImagePaths(broken, base_paths.initrd, base_paths.rootfs, base_paths.agent_drive, "")
        launch = Launch(new_id(VM), image, Resources(memory_mib=128, disk_mib=16))
        with pytest.raises(AetheriumError) as caught:
            await qemu_driver.start(launch)
        assert caught.value.code == "boot_failed"
        assert launch.vm_id not in await qemu_driver.owned()
