"""Kernel, initramfs and agent drive of this version of Aetherium: made from the materials, and kept."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from aetherium.domain.images import ImageProgress
from aetherium.images import agent_drive, initramfs
from aetherium.images.manifest import Platform
from aetherium.images.materials import Materials
from aetherium.images.squashfs import unpack
from aetherium.images.store import DiskImageStore
from aetherium.interfaces.images import Progress

NAME = "platform"
# ttyS0: the console of microvm that needs no driver. panic=-1: a guest that cannot go on ends at once
# (QEMU runs with -no-reboot), so that the host sees it.
# cryptomgr.notests: the kernel's tests of its own ciphers take half a second where there is no KVM.
CMDLINE = "console=ttyS0 quiet panic=-1 cryptomgr.notests"


async def recall(store: DiskImageStore, materials: Materials) -> Platform | None:
    """What was made from `materials` by this version, if it was."""
    record = await store.recall(NAME)
    if record is None or record.get("key") != _key(materials):
        return None
    return _platform(record["parts"]["initrd"], record["parts"]["agent_drive"], materials)


async def make(store: DiskImageStore, staging: Path, materials: Materials, progress: Progress) -> Platform:
    """Make it; takes a second or two, and needs neither network nor root."""
    progress(ImageProgress("Making the initramfs and the agent drive"))
    key = _key(materials)
    await asyncio.to_thread(staging.mkdir)
    tree = staging / "tree"
    await unpack(store.layout.blob(materials.tree), tree)
    initrd, drive = staging / "initrd", staging / "agent.squashfs"
    await asyncio.to_thread(_write_initramfs, tree, initrd, materials)
    await agent_drive.pack(tree / "drive", drive)
    record = await store.keep(NAME, {"initrd": initrd, "agent_drive": drive}, {"key": key})
    return _platform(record["parts"]["initrd"], record["parts"]["agent_drive"], materials)


def _write_initramfs(tree: Path, target: Path, materials: Materials) -> None:
    names = [name for members in materials.groups.values() for name in members]
    modules = {name: (tree / "modules" / f"{name}.ko").read_bytes() for name in names}
    busybox = (tree / "busybox").read_bytes()
    target.write_bytes(initramfs.make_initramfs(busybox, materials.kernel_version, modules, materials.groups))


def _key(materials: Materials) -> str:
    digest = hashlib.sha256(f"{materials.tree} {materials.kernel} {agent_drive.source_digest()}".encode())
    for code in (Path(__file__), Path(initramfs.__file__)):
        digest.update(code.read_bytes())
    digest.update(initramfs.init_script())
    return digest.hexdigest()


def _platform(initrd: str, drive: str, materials: Materials) -> Platform:
    return Platform(
        kernel=materials.kernel,
        initrd=initrd,
        agent_drive=drive,
        cmdline=CMDLINE,
        facts={"kernel": materials.kernel_version, **materials.packages},
    )
