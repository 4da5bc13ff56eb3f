"""What kernel, initramfs and agent drive are made of: from Debian's packages, fetched once and kept.

Kept as two files: the kernel, and a squashfs with ``busybox``, ``modules/`` and ``drive/`` (agent_drive).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aetherium.domain.errors import ImageFailed, Unsupported
from aetherium.domain.images import ImageProgress
from aetherium.images import agent_drive
from aetherium.images.apt import Apt, Source
from aetherium.images.kernel import Modules, extract_vmlinux
from aetherium.images.squashfs import pack_tree
from aetherium.images.store import DiskImageStore
from aetherium.interfaces.images import Progress
from aetherium.process import run

NAME = "materials"
KERNEL = "linux-image-cloud-amd64"
BUSYBOX = "busybox-static"
DRIVE = (
    "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6", "zlib1g", "libexpat1",
    "libffi8", "git", "libpcre2-8-0",
)  # fmt: skip
# What init.sh inserts: always, and where there is a device for it.
MODULE_GROUPS: Mapping[str, tuple[str, ...]] = {
    "drives": ("virtio_mmio", "virtio_blk", "virtio_console", "squashfs", "overlay"),
    "net": ("virtio_net",),
    "rng": ("virtio_rng",),
    "vsock": ("vmw_vsock_virtio_transport",),
}
ARCHITECTURE = "amd64"
# To be raised when the same packages are laid out in another way.
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Materials:
    """Digests in the store, and facts.

    Args:
        packages: name → version of what it was made from.
        groups: group → modules in the order of insertion.
    """

    key: str
    kernel: str
    tree: str
    kernel_version: str
    packages: Mapping[str, str]
    groups: Mapping[str, Sequence[str]]


def check_host() -> None:
    """Raise Unsupported on machines of another architecture."""
    import platform

    machine = platform.machine()
    if machine != "x86_64":
        raise Unsupported("images", "host", message=f"Images can be made for x86_64 only, this is {machine}.")


def recipe_digest() -> str:
    """Changes when this version of the program wants other materials."""
    wanted = (_FORMAT, KERNEL, BUSYBOX, DRIVE, tuple(MODULE_GROUPS.items()), agent_drive.layout_facts())
    return hashlib.sha256(repr(wanted).encode()).hexdigest()


async def recall(store: DiskImageStore) -> Materials | None:
    """The kept materials, if this version of the program can use them."""
    record = await store.recall(NAME)
    if record is None or record.get("recipe") != recipe_digest():
        return None
    return _from_record(record)


def _from_record(record: Mapping[str, Any]) -> Materials:
    return Materials(
        kernel=record["parts"]["kernel"],
        tree=record["parts"]["tree"],
        key=record["key"],
        kernel_version=record["kernel_version"],
        packages=record["packages"],
        groups=record["groups"],
    )


async def fetch(
    store: DiskImageStore, staging: Path, sources: Sequence[Source], key: str, progress: Progress
) -> Materials:
    """Fetch and keep new ones. `key` is what they are found by afterwards."""
    check_host()
    apt = Apt(staging / "apt", ARCHITECTURE)
    progress(ImageProgress("Fetching the kernel and the agent's interpreter", None, "package lists"))
    (staging / "apt").mkdir()
    await apt.start(sources)
    kernels = [name for name in await apt.depends(KERNEL) if name.startswith("linux-image-")]
    wanted = [*kernels, BUSYBOX, *DRIVE]
    progress(
        ImageProgress("Fetching the kernel and the agent's interpreter", None, f"{len(wanted)} packages")
    )
    debs = await apt.download(wanted, staging / "debs")
    debian = staging / "debian"
    for number, deb in enumerate(debs):
        progress(
            ImageProgress("Unpacking the kernel and the agent's interpreter", number / len(debs), deb.name)
        )
        await run(["dpkg-deb", "--extract", str(deb), str(debian)], timeout_s=300)
    tree = staging / "materials"
    version, groups = await asyncio.to_thread(_lay_out, debian, tree)
    kernel, packed = staging / "vmlinux", staging / "materials.squashfs"
    await extract_vmlinux(debian / f"boot/vmlinuz-{version}", kernel)
    await pack_tree(tree, packed, all_root=True)
    facts = {
        "key": key,
        "recipe": recipe_digest(),
        "kernel_version": version,
        "packages": dict(_versions(debs)),
        "groups": groups,
    }
    return _from_record(await store.keep(NAME, {"kernel": kernel, "tree": packed}, facts))


def _lay_out(debian: Path, tree: Path) -> tuple[str, dict[str, list[str]]]:
    (tree / "modules").mkdir(parents=True)
    busybox = next(
        (path for path in (debian / "bin/busybox", debian / "usr/bin/busybox") if path.exists()), None
    )
    if busybox is None:
        raise ImageFailed(f"The package {BUSYBOX} holds no busybox.")
    shutil.copy2(busybox, tree / "busybox")
    modules = Modules(debian)
    groups: dict[str, list[str]] = {}
    for group, names in MODULE_GROUPS.items():
        known = {name for members in groups.values() for name in members}
        closure = modules.closure(names)
        groups[group] = [name for name in closure if name not in known]
        for name in groups[group]:
            (tree / "modules" / f"{name}.ko").write_bytes(closure[name])
    agent_drive.arrange(debian, busybox, tree / "drive")
    return modules.version, groups


def _versions(debs: Iterable[Path]) -> Iterable[tuple[str, str]]:
    for deb in debs:
        match = re.match(r"^([^_]+)_([^_]+)_", deb.name)
        if match:
            yield match[1], match[2].replace("%3a", ":")
