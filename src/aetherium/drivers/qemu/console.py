"""The serial console's log, kept within bounds.

QEMU appends to ``console.log`` (O_APPEND, so that it may be cut at any moment), and it is there after every
kind of end. Whoever looks at the VM rotates it; while nobody does, the limit on QEMU's file sizes bounds it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from aetherium.drivers.qemu.files import open_plain

LOG = "console.log"
_OLD = "console.old"
# Enough for a whole boot with its messages, and for several panics.
KEEP_BYTES = 256 * 1024
_PANIC = re.compile(rb"Kernel panic - not syncing: ([^\r\n]{0,200})")


def rotate(home: Path) -> None:
    """Keep the last `KEEP_BYTES` of a log that has grown to more. What comes meanwhile may be lost."""
    log = home / LOG
    try:
        with open_plain(log, "rb+") as file:
            if os.fstat(file.fileno()).st_size <= KEEP_BYTES:
                return
            file.seek(-KEEP_BYTES, os.SEEK_END)
            tail = file.read(KEEP_BYTES)
            file.truncate(0)
        part = home / f"{_OLD}.part"
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            file.write(tail)
        part.replace(home / _OLD)
    except FileNotFoundError:
        return  # the VM has been deleted


def tail(home: Path, max_bytes: int) -> bytes:
    """The last bytes of the console."""
    rotate(home)
    text = b""
    for name in (_OLD, LOG):
        try:
            with open_plain(home / name) as file:
                text += file.read(2 * KEEP_BYTES)
        except FileNotFoundError:
            continue
    return text[-max_bytes:] if max_bytes > 0 else b""


def panic(home: Path) -> str:
    """Why the guest's kernel says that it panicked, or an empty string. The guest may lie."""
    found = _PANIC.findall(tail(home, KEEP_BYTES))
    return found[-1].decode(errors="replace").strip() if found else ""
