"""The physics: QEMU with the same kernel and root file system, and only a shell script in the guest."""

from __future__ import annotations

import asyncio
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aetherium.domain.images import ImagePaths
from aetherium.interfaces.drivers import DriverProbe
from aetherium.process import run, spawned

MARK = b"bench: init runs"
BOOT_S = 60.0
_INIT = f"""#!/bin/sh
echo "{MARK.decode()}" >/dev/console
for name in /sys/class/virtio-ports/*/name; do
    read -r text <"$name" || :
    [ "$text" = bench ] && port=/dev/$(basename "$(dirname "$name")")
done
[ -n "$port" ] || exec sleep 1000000
exec python3 -I -S -c '
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
while True:
    order = b""
    while len(order) < 16:
        order += os.read(fd, 16 - len(order)) or b""
    verb, left = order[:1], int(order[1:])
    block = bytes(65536)
    while left:
        left -= os.write(fd, block[:left]) if verb == b"w" else len(os.read(fd, min(left, 65536)))
    if verb == b"r":
        os.write(fd, b"k")
' "$port"
"""


@dataclass(frozen=True, slots=True)
class BareVM:
    """A booted VM: seconds from the start of QEMU to the guest's init, and the copying script's port."""

    boot_s: float
    port: Path


@asynccontextmanager
async def bare_vm(image: ImagePaths, probe: DriverProbe, *, memory_mib: int = 512) -> AsyncIterator[BareVM]:
    """Boot to the image's init, which is a shell script that says so on the console."""
    with tempfile.TemporaryDirectory(prefix="aetherium-bench-") as name:
        home = Path(name)
        scratch = await asyncio.to_thread(_tree, home)
        await run(
            ["mkfs.ext4", "-q", "-O", "^has_journal", "-m0", "-d", str(scratch), str(home / "disk"), "4G"]
        )
        port = home / "port.sock"
        started = time.perf_counter()
        async with spawned(_argv(image, probe, home, memory_mib), stdout=PIPE) as process:
            assert process.stdout is not None
            async with asyncio.timeout(BOOT_S):
                await process.stdout.readuntil(MARK)
            boot_s = time.perf_counter() - started
            async with asyncio.TaskGroup() as group:
                drain = group.create_task(_drain(process.stdout))
                yield BareVM(boot_s, port)
                drain.cancel()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass


def _tree(home: Path) -> Path:
    scratch = home / "tree"
    (scratch / "upper").mkdir(parents=True)
    (scratch / "work").mkdir()
    init = scratch / "upper" / "bench-init"
    init.write_text(_INIT)
    init.chmod(0o755)
    return scratch


def _argv(image: ImagePaths, probe: DriverProbe, home: Path, memory_mib: int) -> list[str]:
    tcg = probe.facts["accel"] == "tcg"
    words = [image.cmdline, "console=ttyS0 quiet reboot=t panic=-1 aetherium.init=/bench-init"]
    if tcg:
        words.append(f"tsc_early_khz={probe.facts['tsc_khz']}")
    argv = ["qemu-system-x86_64", "-M", "microvm", "-accel", "tcg,thread=multi,tb-size=256" if tcg else "kvm"]
    argv += ["-cpu", "max" if tcg else "host", "-smp", "1", "-m", str(memory_mib), "-nodefaults"]
    argv += ["-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"]
    argv += ["-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", " ".join(words)]
    drives = (
        ("root", image.rootfs, "on"),
        ("agent", image.agent_drive, "on"),
        ("scratch", home / "disk", "off"),
    )
    for serial, path, read_only in drives:
        options = f"if=none,id={serial},file={path},format=raw,read-only={read_only},file.locking=off"
        argv += ["-drive", options, "-device", f"virtio-blk-device,drive={serial},serial={serial}"]
    argv += ["-device", "virtio-rng-device", "-device", "virtio-serial-device,max_ports=8"]
    argv += ["-chardev", f"socket,id=bench,path={home / 'port.sock'},server=on,wait=off"]
    return [*argv, "-device", "virtserialport,chardev=bench,name=bench"]


async def copy_in(vm: BareVM, size: int) -> float:
    """Seconds to send `size` bytes over the bare port to a reader in the guest that drops them."""
    reader, writer = await asyncio.open_unix_connection(str(vm.port))
    block = bytes(65536)
    started = time.perf_counter()
    writer.write(b"r%015d" % size)
    for _ in range(size // len(block)):
        writer.write(block)
        await writer.drain()
    await reader.readexactly(1)
    took = time.perf_counter() - started
    writer.close()
    await writer.wait_closed()
    return took


async def copy_out(vm: BareVM, size: int) -> float:
    """Seconds to receive `size` bytes over the bare port."""
    reader, writer = await asyncio.open_unix_connection(str(vm.port), limit=1 << 20)
    started = time.perf_counter()
    writer.write(b"w%015d" % size)
    left = size
    while left:
        left -= len(await reader.read(65536))
    took = time.perf_counter() - started
    writer.close()
    await writer.wait_closed()
    return took
