"""The directory of one VM, which holds everything that the VM has on this host."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aetherium.domain.errors import Conflict, NotFound, VMFailed
from aetherium.drivers import directories
from aetherium.drivers.qemu.files import open_plain

MONITOR = "qmp.sock"
PIDFILE = "pid"
PORTS = tuple(f"agent-{number}.sock" for number in range(4))
MEMORY = "memory"
LOCK = "lock"
# The longest operation, a snapshot of a large VM, takes seconds for each GiB that the VM has touched.
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of one VM. QEMU's working directory is `path`, so that it needs relative names only: a Unix
    socket's path has at most 107 bytes."""

    path: Path

    @classmethod
    def of(cls, root: Path, vm_id: str) -> Home:
        """The home of a VM. Raises InvalidInput for what is no VM's id."""
        return cls(directories.of(root, vm_id))

    @property
    def vm_id(self) -> str:
        return self.path.name

    @property
    def log(self) -> Path:
        """What QEMU itself had to say."""
        return self.path / "qemu.log"

    @property
    def memory(self) -> Path:
        """A further link to the memory file of the snapshot that the VM came from."""
        return self.path / MEMORY

    @property
    def monitor(self) -> Path:
        """QEMU's monitor socket, which it removes when it ends in an orderly way."""
        return self.path / MONITOR

    def disk(self, level: int) -> Path:
        """A layer of the disk: 0 is the empty file system, each further one an overlay on the one before."""
        return self.path / disk_name(level)

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """For operations of several steps on the running VM; waits for the one that is going on.

        Raises NotFound when the VM has no directory, Conflict when the other operation takes too long.
        """
        try:
            fd = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise NotFound("VM", self.vm_id) from None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not _flock(fd, fcntl.LOCK_EX):  # noqa: ASYNC110  # held by another process, maybe
                    await asyncio.sleep(0.005)
        except TimeoutError:
            os.close(fd)
            raise Conflict(
                f"Another operation on {self.vm_id} is going on.", hint="Try again when it is over."
            ) from None
        except BaseException:
            os.close(fd)
            raise
        try:
            yield
        finally:
            os.close(fd)

    @property
    def busy(self) -> bool:
        """Whether an operation of several steps is going on."""
        try:
            fd = os.open(self.path / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _flock(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def last_words(self) -> str:
        """The last line of QEMU's own log, or an empty string."""
        try:
            with open_plain(self.log) as file:
                lines = file.read(64 * 1024).decode(errors="replace").strip().splitlines()
        except FileNotFoundError:
            return ""
        return lines[-1][-500:] if lines else ""


def _flock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def disk_name(level: int) -> str:
    """Name of a layer of the disk, in a VM's directory and in a snapshot's."""
    return f"disk-{level}"


def link(source: Path, target: Path) -> None:
    """A further link to a file that never changes, or a copy of it where file systems differ."""
    try:
        target.hardlink_to(source)
    except FileNotFoundError as error:
        raise VMFailed(f"The snapshot is incomplete: {source.name} is missing.") from error
    except OSError:
        shutil.copyfile(source, target)
