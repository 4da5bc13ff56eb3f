"""Locks between processes, and staging directories that nobody's death leaves behind."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold flock(2) on `path`. Blocks: call it in a thread. The kernel drops it when the holder dies."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def fsync_dir(path: Path) -> None:
    """Make renames in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file so that readers, and the disk after a crash, have the old or the new whole."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


def try_lock(path: Path) -> int | None:
    """A descriptor of `path`, which is made when missing, that holds flock(2) on it; None while others do.

    Never of a file that was moved away or removed meanwhile: the lock is on what `path` names now.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(fd).st_ino:
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


class Staging:
    """A directory for one build, under `root`. Its lock file is held open as long as it is in use.

    The lock is the file ``NAME.lock`` beside the directory, taken before the directory is made, so that a
    directory without a held lock is always garbage.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / f"build-{secrets.token_hex(8)}"
        self._lock = self.path.with_suffix(".lock")
        self._fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self.path.mkdir(mode=0o700)

    def close(self) -> None:
        """Let go of it. The directory itself has to be gone before: see namespace.remove_tree."""
        self._lock.unlink(missing_ok=True)
        self.abandon()

    def abandon(self) -> None:
        """Leave everything as it is and drop the lock, as the death of this process would."""
        os.close(self._fd)


def abandoned(root: Path) -> Iterator[tuple[Path, Path]]:
    """Staging directories whose builder has died: (directory, lock file). The caller has the store's lock."""
    for lock in sorted(root.glob("build-*.lock")):
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)
        yield lock.with_suffix(""), lock
