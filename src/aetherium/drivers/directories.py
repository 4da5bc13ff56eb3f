"""Directories of VMs: one for each, private, below the driver's root."""

from __future__ import annotations

import shutil
from pathlib import Path

from aetherium.domain import ids
from aetherium.domain.errors import AlreadyExists


def of(root: Path, vm_id: str) -> Path:
    """Where a VM lives. Raises InvalidInput for what is no VM's id."""
    return root / ids.check_id(vm_id, ids.VM)


def create(path: Path) -> None:
    """Make it, with mode 0700. Raises AlreadyExists."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        raise AlreadyExists(f"There is already a VM {path.name} on this host.") from None
    path.chmod(0o700)  # whatever the umask was


def remove(path: Path) -> None:
    """Remove it and all it holds. Idempotent."""
    while path.exists():
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            continue  # a socket went away while its directory was being listed


def owned(root: Path) -> list[str]:
    """Ids of all VMs that have a directory."""
    if not root.exists():
        return []
    return sorted(entry.name for entry in root.iterdir() if ids.is_id(entry.name, ids.VM))
