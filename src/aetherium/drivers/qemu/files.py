"""Files with holes."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, ParamSpec

ParametersT = ParamSpec("ParametersT")


async def in_thread(
    work: Callable[ParametersT, None], *args: ParametersT.args, **kwargs: ParametersT.kwargs
) -> None:
    """Like asyncio.to_thread, but a cancelled caller goes on only when the work has ended: what it wrote
    can then be removed."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def open_plain(path: Path, mode: Literal["rb", "rb+"] = "rb") -> BinaryIO:
    """Open a file in a directory that the VM's process may write to: no link out of it is followed, and
    nothing that is no plain file is waited for. Raises FileNotFoundError for those, too."""
    access = os.O_RDWR if "+" in mode else os.O_RDONLY
    try:
        fd = os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise FileNotFoundError(errno.ENOENT, "not a plain file", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, "not a plain file", str(path))
    return os.fdopen(fd, mode)


def extents(fd: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each piece of the file that has data."""
    end = 0
    while True:
        try:
            begin = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data after this
                return
            raise
        end = os.lseek(fd, begin, os.SEEK_HOLE)
        yield begin, end


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file and its holes; where the file system can, its blocks are shared."""
    with open_plain(source) as reader, target.open("xb") as writer:
        os.fchmod(writer.fileno(), 0o600)
        writer.truncate(os.fstat(reader.fileno()).st_size)
        for begin, end in extents(reader.fileno()):
            _copy_range(reader.fileno(), writer.fileno(), begin, end)


def _copy_range(reader: int, writer: int, begin: int, end: int) -> None:
    while begin < end:
        try:
            done = os.copy_file_range(reader, writer, end - begin, begin, begin)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
            done = os.pwrite(writer, os.pread(reader, min(end - begin, 1 << 20), begin), begin)
        if done == 0:
            return  # the file became shorter
        begin += done


def allocated(path: Path) -> int:
    """Bytes that a file takes on the disk; 0 if it is not there."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
