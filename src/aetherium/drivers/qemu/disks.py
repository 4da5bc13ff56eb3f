"""The writable disk of a VM: qcow2 overlays on an empty file system that is made once for each size.

::

    disk-0   raw, sparse: the empty ext4; a link to the cached one, never written
    disk-1   qcow2 on disk-0: what the VM writes
    disk-2   qcow2 on disk-1: what a VM writes that was restored from a snapshot of the first; and so on

A snapshot holds all layers; all but the last are links. Names of backing files are relative, so a layer is
found in whatever directory it is linked into. An empty overlay depends on nothing but its size and level: it
is made by qemu-img once, and copied afterwards, which spares a process for every VM.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

from aetherium import process
from aetherium.domain.errors import LimitExceeded
from aetherium.drivers.qemu import users
from aetherium.drivers.qemu.files import copy_sparse, in_thread
from aetherium.drivers.qemu.home import Home, disk_name, link

# Of the files in the cache; to be raised when one of the commands below changes.
_LAYOUT = 1
# Every read that no layer has data for asks all of them.
MAX_LEVEL = 32
# No journal: the disk lives and dies with its VM. The inode tables are zero already, as the file is new:
# neither mkfs nor the guest needs to write them. Checksums guard against media that we do not have.
_MKFS = (
    *("mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-L", "scratch"),
    *("-O", "^has_journal,^resize_inode,^metadata_csum,^metadata_csum_seed"),
    *("-E", "nodiscard,lazy_itable_init=0,assume_storage_prezeroed=1"),
)


class Disks:
    """Makes disks; `cache` is a directory of this driver on the file system of the VMs' directories."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    async def create(self, home: Home, disk_mib: int) -> None:
        """An empty disk for a new VM."""
        link(await self._empty(disk_mib), home.disk(0))
        await self.overlay(home, disk_mib, 1)

    async def overlay(self, home: Home, disk_mib: int, level: int) -> None:
        """A layer to write to on the layers that are there. Raises LimitExceeded."""
        if level > MAX_LEVEL:
            raise LimitExceeded(
                f"The snapshot has {MAX_LEVEL} generations of snapshots below it.",
                hint="Start again from a fresh VM.",
                limit=MAX_LEVEL,
            )
        copy_sparse(await self._overlay(disk_mib, level), home.disk(level))
        users.give(home.disk(level), home.vm_id)  # QEMU opens it anew when it has loaded a snapshot

    async def _empty(self, disk_mib: int) -> Path:
        path = self._cache / f"empty-{_LAYOUT}-{disk_mib}.ext4"
        if not path.exists():
            part = self._part(path)
            with part.open("xb") as file:
                file.truncate(disk_mib << 20)
            await self._made(part, path, [*_MKFS, str(part)])
        return path

    async def _overlay(self, disk_mib: int, level: int) -> Path:
        path = self._cache / f"overlay-{_LAYOUT}-{disk_mib}-{level}.qcow2"
        if not path.exists():
            part = self._part(path)
            base = ("-b", disk_name(level - 1), "-F", "raw" if level == 1 else "qcow2")
            argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", *base, str(part), f"{disk_mib}M"]
            await self._made(part, path, argv)
        return path

    def _part(self, path: Path) -> Path:
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")

    async def _made(self, part: Path, path: Path, argv: list[str]) -> None:
        """Run the program that makes `part` and give it its name, whole or not at all."""
        try:
            await process.run(argv)
            await asyncio.to_thread(part.replace, path)
        finally:
            _discard(part)


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)


async def capture(home: Home, level: int, directory: Path) -> None:
    """The disk of a VM that does not run now, for a snapshot. `level` is the layer that the VM writes to."""
    for below in range(level):
        link(home.disk(below), directory / disk_name(below))
    await in_thread(copy_sparse, home.disk(level), directory / disk_name(level))


def adopt(directory: Path, level: int, home: Home) -> None:
    """Link all layers of a snapshot into the home of a new VM."""
    for below in range(level + 1):
        link(directory / disk_name(below), home.disk(below))
