"""Who owns what must not outlive a process: each process holds a file lock that dies with it.

``<data_dir>/owners/ID`` is locked (flock) as long as the process ID lives. Rows name their owner; what
belongs to an owner whose lock is free belongs to nobody any more, and is removed by whoever finds it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Owners:
    """The processes that use one data directory.

    Args:
        root: ``<data_dir>/owners``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def own(self) -> Iterator[str]:
        """Be an owner for the time of the block; its id."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner, fd = self._take()
        try:
            yield owner
        finally:
            (self._root / owner).unlink(missing_ok=True)
            os.close(fd)

    def living(self, owner: str) -> bool:
        """Whether that process still lives."""
        return not self._free(owner, remove=False)

    def sweep(self) -> None:
        """Remove the files of owners that have died."""
        for path in tuple(self._root.iterdir()):
            self._free(path.name, remove=True)

    def _free(self, owner: str, *, remove: bool) -> bool:
        """Whether nobody holds the lock; removed, if so wished, while nobody else can take it."""
        path = self._root / owner
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if remove:
                path.unlink(missing_ok=True)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def _take(self) -> tuple[str, int]:
        while True:
            owner = secrets.token_hex(8)
            path = self._root / owner
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                # Between the two calls another process may find the lock free, and remove the file.
                fcntl.flock(fd, fcntl.LOCK_EX)
                if path.exists():
                    return owner, fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
