"""A file on its way into a directory store; every function here blocks and is called in a thread.

It is written in the staging directory under a lock of its own, which the kernel drops when the writer dies: a
staged file that nobody has locked is garbage. It is made, and garbage is looked for, under the lock of the
whole directory, so that no file is seen between its making and its locking.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Staged:
    """One file: `open`, `write` …, `publish`, and in any case `discard`."""

    def __init__(self, staging: Path) -> None:
        self._staging = staging
        self._path = staging / secrets.token_hex(8)
        self._fd = -1

    def open(self) -> None:
        """Make it."""
        self._staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self._staging, fcntl.LOCK_SH):
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def write(self, data: bytes) -> None:
        """Append."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def publish(self, target: Path) -> None:
        """Let it be `target`, durably, instead of what was there."""
        os.fsync(self._fd)
        while True:
            try:
                _make_durably(target.parent)
                self._path.rename(target)
                break
            except FileNotFoundError:  # a directory was empty and has just been removed
                if not self._path.exists():
                    raise
        with suppress(FileNotFoundError):  # so has the object
            fsync_dir(target.parent)

    def discard(self) -> None:
        """Remove it unless it was published."""
        if self._fd >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._fd)


def sweep(staging: Path) -> int:
    """Remove the files whose writers have died; how many these were."""
    removed = 0
    if not staging.is_dir():
        return removed
    with _locked(staging, fcntl.LOCK_EX):
        for path in staging.iterdir():
            removed += _remove_abandoned(path)
    return removed


def _remove_abandoned(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False  # published or discarded meanwhile
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(fd)
    return True


@contextmanager
def _locked(directory: Path, operation: int) -> Iterator[None]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, operation)
        yield
    finally:
        os.close(fd)


def _make_durably(directory: Path) -> None:
    if not directory.is_dir():
        _make_durably(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        fsync_dir(directory.parent)


def fsync_dir(path: Path) -> None:
    """Make renames in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
