"""Snapshots: a directory with ``memory`` (sparse, to be mapped), ``device`` and the layers of the disk.

QEMU writes the state of all devices without the memory (``xen-save-devices-state``, which is how Xen saves
its guests and nothing special to it: the stream of a migration without the RAM section). A QEMU that is
started with ``-incoming`` on it, over a mapping of the memory file, goes on where the other was.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aetherium.domain.errors import AlreadyExists, Conflict, InvalidInput, VMFailed
from aetherium.drivers.qemu import disks, files, memory
from aetherium.drivers.qemu.home import MEMORY, Home, disk_name
from aetherium.drivers.qemu.qmp import Monitor
from aetherium.interfaces.drivers import Launch, SnapshotData

VERSION = 1
DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Contents:
    """What has to be the same where a snapshot is restored.

    Args:
        level: of the top layer of its disk.
        rootfs_bytes, agent_bytes: sizes of the image's drives, to tell another image.
        tsc_khz: of the host; the guest goes on counting with it.
    """

    vcpus: int
    memory_mib: int
    disk_mib: int
    level: int
    accel: str
    qemu: str
    tsc_khz: int
    rootfs_bytes: int
    agent_bytes: int

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Contents:
        """From a SnapshotData or a VMHandle. Raises InvalidInput."""
        try:
            return cls(**{name: data[name] for name in cls.__dataclass_fields__})
        except KeyError as error:
            raise InvalidInput(f"The driver's data lack {error}.") from None

    @classmethod
    def launched(cls, launch: Launch, *, level: int, accel: str, qemu: str, tsc_khz: int) -> Contents:
        """Of a VM that is being started."""
        size = launch.resources
        drives = launch.image.rootfs.stat().st_size, launch.image.agent_drive.stat().st_size
        return cls(size.vcpus, size.memory_mib, size.disk_mib, level, accel, qemu, tsc_khz, *drives)

    def check(self, here: Contents) -> None:
        """Raise Conflict if a snapshot with these contents cannot go on as `here`."""
        for name in ("vcpus", "memory_mib", "accel", "qemu", "rootfs_bytes", "agent_bytes"):
            was, now = getattr(self, name), getattr(here, name)
            if was != now:
                raise Conflict(
                    f"The snapshot was made with {name} {was}; this is {now}.",
                    hint="Restore it with the same image, size and QEMU, or make a new one.",
                    field=name,
                )
        # Two measurements of one counter differ by a few parts in a million, two machines by more.
        if abs(self.tsc_khz - here.tsc_khz) * 1000 > self.tsc_khz:
            raise Conflict(
                "The snapshot was made on a machine with another clock frequency.",
                hint="Make a new one here.",
            )


async def write(client: Monitor, pid: int, home: Home, contents: Contents, part: Path) -> None:
    """Fill the directory `part` from a VM whose processors are stopped."""
    await _write_device(client, part / DEVICE)
    address = await _ram_address(client)
    base = home.memory if home.memory.exists() else None
    size = contents.memory_mib << 20
    await files.in_thread(memory.dump, pid, address, size, base, part / MEMORY)
    await disks.capture(home, contents.level, part)


async def _write_device(client: Monitor, target: Path) -> None:
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        answer = await client.execute("add-fd", fd=fd)
        number = answer["fdset-id"]
        try:
            arguments: dict[str, object] = {"filename": f"/dev/fdset/{number}", "live": False}
            await client.execute("xen-save-devices-state", arguments, timeout_s=10.0)
        finally:
            await client.execute("remove-fd", {"fdset-id": number})
    finally:
        os.close(fd)


async def _ram_address(client: Monitor) -> int:
    """Where QEMU has mapped the guest's memory."""
    text = str(await client.execute("human-monitor-command", {"command-line": "gpa2hva 0"}))
    found = re.search(r"is (0x[0-9a-f]+)", text)
    if found is None:
        raise VMFailed(f"QEMU does not say where the VM's memory is: {text.strip()!r}.")
    return int(found[1], 16)


def _stage(directory: Path) -> Path:
    if directory.exists():
        raise AlreadyExists(f"The snapshot's directory {directory.name!r} exists already.")
    part = directory.with_name(f".{directory.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    part.mkdir(mode=0o700, parents=True)
    return part


@asynccontextmanager
async def staged(directory: Path) -> AsyncIterator[Path]:
    """A directory to fill, which becomes `directory` if the block succeeds and is removed otherwise."""
    part = _stage(directory)
    try:
        yield part
        part.rename(directory)
    except BaseException:
        shutil.rmtree(part)
        raise


def describe(name: str, contents: Contents, directory: Path) -> SnapshotData:
    """The record of a finished snapshot. Lower layers of the disk are links, counted where they came from."""
    own = (MEMORY, DEVICE, disk_name(contents.level))
    size = sum(files.allocated(directory / file) for file in own)
    return SnapshotData(name, VERSION, asdict(contents), size)
