"""Squashfs files: made, and unpacked again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from aetherium.domain.errors import AetheriumError, ImageFailed, LimitExceeded
from aetherium.images.namespace import contained
from aetherium.process import ProcessFailed, run, spawned

# The same content gives the same bytes: no time of making. LZ4, because a guest without KVM inflates slowly,
# and the page cache of the host, which all VMs share, is what counts in the end.
_COMMON = ("-noappend", "-no-progress", "-quiet", "-mkfs-time", "0", "-comp", "lz4")
_UNCOMPRESSED = ("-noI", "-noD", "-noF", "-noX")
LONGEST_S = 3600.0


async def pack_tree(
    tree: Path, target: Path, *, compress: bool = True, all_root: bool = False, pseudo: Sequence[str] = ()
) -> None:
    """Make `target` from a directory.

    Args:
        compress: whether; what is read at every boot is quicker without.
        all_root: let everything belong to root.
        pseudo: further entries, in mksquashfs's words ("proc d 0555 0 0").
    """
    options = [*_COMMON, *(() if compress else _UNCOMPRESSED), *(["-all-root"] if all_root else [])]
    for entry in pseudo:
        options += ["-p", entry]
    try:
        await run(contained(["mksquashfs", str(tree), str(target), *options]), timeout_s=LONGEST_S)
    except ProcessFailed as error:
        raise translate(error, "The root file system cannot be packed") from error


async def unpack(source: Path, target: Path) -> None:
    """Unpack a squashfs file that this host has made, all files owned by the caller."""
    argv = ["unsquashfs", "-quiet", "-no-progress", "-no-xattrs", "-d", str(target), str(source)]
    await run(argv, timeout_s=LONGEST_S)


async def pack_stream(read_end: int, target: Path) -> None:
    """Make `target` from the tar archive that comes through a pipe; takes the descriptor over.

    Raises ImageFailed when what comes is no tar archive.
    """
    argv = contained(["mksquashfs", "-", str(target), "-tar", *_COMMON])
    with os.fdopen(read_end, "rb") as source:
        async with spawned(argv, stdin=source, stderr=asyncio.subprocess.PIPE) as process:
            source.close()  # The writer gets EPIPE only when no reader is left.
            _, stderr = await process.communicate()
    if process.returncode:
        text = stderr.decode(errors="replace").strip()
        raise translate(
            ProcessFailed("mksquashfs failed", argv0="mksquashfs", exit_code=process.returncode, stderr=text),
            "The root file system cannot be packed",
        )


def translate(error: ProcessFailed, what: str) -> AetheriumError:
    """A typed error for a program's failure: a full disk told apart."""
    stderr = str(error.details["stderr"])
    if "no space left" in stderr.lower():
        return LimitExceeded(
            f"{what}: the disk is full.",
            hint="Free space, or move the data directory; see: aetherium image prune",
        )
    lines = [line for line in stderr.splitlines() if line.strip()]
    reason = lines[-1].strip() if lines else error.message
    return ImageFailed(f"{what}: {reason}", stderr=stderr[-4000:])


async def size_of(path: Path) -> int:
    """Bytes."""
    return (await asyncio.to_thread(path.stat)).st_size
