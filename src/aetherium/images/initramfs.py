"""The initramfs: a static busybox, some modules and the script init.sh, as a cpio archive."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

# As fstab(5): init.sh mounts them with one program.
_FIRST_MOUNTS = (
    b"sysfs /sys sysfs defaults 0 0\ndevtmpfs /dev devtmpfs defaults 0 0\nproc /proc proc defaults 0 0\n"
)
_DIRECTORIES = (
    "bin", "dev", "etc", "lib", "lib/modules", "lower", "nodes", "nodes/pts", "nodes/shm", "proc", "root",
    "scratch", "sys",
)  # fmt: skip
# What /dev has besides the kernel's nodes.
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of a cpio archive; `mode` with its type."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def init_script() -> bytes:
    """The program that the kernel starts."""
    return files("aetherium.images").joinpath("init.sh").read_bytes()


def make_initramfs(
    busybox: bytes, version: str, modules: Mapping[str, bytes], groups: Mapping[str, Sequence[str]]
) -> bytes:
    """The whole archive, uncompressed: copying is quicker than inflating, and the host's page cache holds it
    once for all VMs.

    Args:
        version: of the kernel, as uname(2) has it.
        modules: name → content, in the order of insertion.
        groups: name → modules: lists that init.sh inserts, one file each.
    """
    entries = [
        *(_directory(name) for name in _DIRECTORIES),
        _directory(f"lib/modules/{version}"),
        *(_link(f"nodes/{name}", target) for name, target in _LINKS.items()),
        Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        Entry("bin/busybox", stat.S_IFREG | 0o755, busybox),
        Entry("init", stat.S_IFREG | 0o755, init_script()),
        _file("etc/first", _FIRST_MOUNTS),
        *(_file(f"lib/modules/{version}/{name}.ko", data) for name, data in modules.items()),
        # The groups name everything in order, so no module is said to need another.
        _file(
            f"lib/modules/{version}/modules.dep", b"".join(b"%s.ko:\n" % name.encode() for name in modules)
        ),
        *(
            _file(f"etc/modules.{name}", f"{' '.join(members)}\n".encode())
            for name, members in groups.items()
        ),
    ]
    return b"".join(cpio(entries))


def _directory(name: str) -> Entry:
    return Entry(name, stat.S_IFDIR | 0o755)


def _file(name: str, data: bytes) -> Entry:
    return Entry(name, stat.S_IFREG | 0o644, data)


def _link(name: str, target: str) -> Entry:
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def cpio(entries: list[Entry]) -> Iterator[bytes]:
    """The format "newc" (Documentation/driver-api/early-userspace/buffer-format.rst of Linux), all owned by
    root and without times, so that the same content gives the same bytes."""
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.name.encode() + b"\0"
        fields = (
            number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, *entry.device, len(name), 0
        )  # fmt: skip
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        yield header + bytes(-len(header) % 4)
        yield entry.data + bytes(-len(entry.data) % 4)
