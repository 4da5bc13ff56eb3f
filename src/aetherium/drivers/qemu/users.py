"""A user for each VM, where this process is root: a guest that breaks out of QEMU is nobody then."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

# Numbers that no distribution, systemd or container runtime gives out (systemd's UIDS-GIDS.md).
_FIRST, _COUNT = 0x70000000, 0x0FFF0000
_UID_MAP = Path("/proc/self/uid_map")


def of(vm_id: str) -> int | None:
    """The uid and gid of a VM's process, derived from its id; None where we cannot change users."""
    if os.geteuid() != 0 or not _mapped():
        return None
    number = int.from_bytes(hashlib.sha256(vm_id.encode()).digest()[:8], "big")
    return _FIRST + number % _COUNT


def give(path: Path, vm_id: str) -> None:
    """Make a file or directory the VM's own: its directory, from which it removes its sockets, and the
    layer of the disk that it writes to."""
    uid = of(vm_id)
    if uid is not None:
        os.chown(path, uid, uid)


def _mapped() -> bool:
    """Whether our user namespace has these numbers (a container's often has 65536)."""
    for line in _UID_MAP.read_text().splitlines():
        inside, _, count = (int(word) for word in line.split())
        if inside <= _FIRST and inside + count >= _FIRST + _COUNT:
            return True
    return False
