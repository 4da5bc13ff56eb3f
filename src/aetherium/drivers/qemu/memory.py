"""Memory of a VM that does not run now, written to a file.

QEMU's RAM is a private mapping: anonymous memory in a VM that booted, the snapshot's file in one that was
restored. In both cases what the VM has written are the anonymous pages of the mapping, which
``/proc/PID/pagemap`` tells (Documentation/admin-guide/mm/pagemap.rst in Linux), and ``/proc/PID/mem`` reads.
QEMU itself could write the memory (``migrate``, ``pmemsave``), but all of it, at a tenth of the speed, and
not in a form that can be mapped again.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from pathlib import Path

from aetherium.domain.errors import VMFailed
from aetherium.drivers.qemu.files import copy_sparse

PAGE = 4096
_PRESENT, _SWAPPED, _OF_FILE = 1 << 63, 1 << 62, 1 << 61
_CHUNK_PAGES = 256
_ZERO_PAGE = bytes(PAGE)
_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")


def readable() -> bool:
    """Whether this user may read the memory of its own processes (Yama may restrict that to children)."""
    if os.geteuid() == 0:
        return True
    try:
        return _YAMA.read_text().strip() == "0"
    except FileNotFoundError:
        return True


def dump(pid: int, address: int, size: int, base: Path | None, target: Path) -> None:
    """Write `size` bytes at `address` of the process to `target`, with holes for what is zero.

    Args:
        base: the file of which the memory is a private mapping, if it is one.
    """
    if base is None:
        with target.open("xb") as file:
            file.truncate(size)
    else:
        copy_sparse(base, target)
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except OSError as error:
        raise VMFailed(f"The VM's memory cannot be read: {error.strerror}.") from error
    try:
        with target.open("rb+") as file:
            os.fchmod(file.fileno(), 0o600)
            for begin, end in _changed(pid, address, size):
                _copy(memory, address, file.fileno(), begin, end, keep_zeros=base is not None)
    finally:
        os.close(memory)


def _changed(pid: int, address: int, size: int) -> Iterator[tuple[int, int]]:
    """Runs of anonymous pages, as page numbers from `address`, of at most `_CHUNK_PAGES`."""
    fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    try:
        entries = array("Q", os.pread(fd, size // PAGE * 8, address // PAGE * 8))
    finally:
        os.close(fd)
    begin = None
    for number, entry in enumerate(entries):
        changed = entry & (_PRESENT | _SWAPPED) and not entry & _OF_FILE
        if begin is not None and (not changed or number - begin == _CHUNK_PAGES):
            yield begin, number
            begin = None
        if changed and begin is None:
            begin = number
    if begin is not None:
        yield begin, len(entries)


def _copy(memory: int, address: int, target: int, begin: int, end: int, *, keep_zeros: bool) -> None:
    offset, length = begin * PAGE, (end - begin) * PAGE
    data = os.pread(memory, length, address + offset)
    if len(data) != length:
        raise VMFailed("The VM's memory went away while it was being read.")
    if keep_zeros:
        os.pwrite(target, data, offset)
        return
    view = memoryview(data)
    written = 0
    while written < length:
        start = written
        while start < length and view[start : start + PAGE] == _ZERO_PAGE:
            start += PAGE
        written = start
        while written < length and view[written : written + PAGE] != _ZERO_PAGE:
            written += PAGE
        if written > start:
            os.pwrite(target, view[start:written], offset + start)
