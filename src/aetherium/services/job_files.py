"""The files of jobs: on this host, or where a cluster keeps them."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from aetherium.domain.errors import NotFound
from aetherium.domain.ids import JOB, check_id
from aetherium.domain.tasks import ENDED
from aetherium.interfaces.jobs import JobFile, JobFiles
from aetherium.interfaces.objects import ObjectStore
from aetherium.interfaces.store import Store

_PIECE = 256 * 1024


def prefix_of(job_id: str) -> str:
    """Where the object store has a job's files."""
    return f"jobs/{check_id(job_id, JOB)}/"


class LocalJobFiles:
    """Those of this host.

    Args:
        root: ``<data_dir>/jobs``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def read(self, job_id: str, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        """See JobFiles."""
        with await asyncio.to_thread(_open, self._root / check_id(job_id, JOB), name, offset) as file:
            while piece := await asyncio.to_thread(file.read, _PIECE):
                yield piece

    async def list(self, job_id: str, prefix: str = "") -> Sequence[JobFile]:
        """See JobFiles."""
        return await asyncio.to_thread(_listed, self._root / check_id(job_id, JOB), prefix)

    async def remove(self, job_id: str) -> None:
        """See JobFiles."""
        await asyncio.to_thread(shutil.rmtree, self._root / check_id(job_id, JOB), ignore_errors=True)


def _open(directory: Path, name: str, offset: int) -> BinaryIO:
    """Raises NotFound, also for what would leave the directory or is no ordinary file."""
    try:
        path = (directory / name).resolve()
        if not path.is_relative_to(directory.resolve()):
            raise NotFound("file of the job", name)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise NotFound("file of the job", name) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotFound("file of the job", name)
    file = os.fdopen(fd, "rb")
    file.seek(offset)
    return file


def _listed(directory: Path, prefix: str) -> list[JobFile]:
    found = []
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if name.startswith(prefix) and path.is_file() and not path.is_symlink():
            found.append(JobFile(name, path.stat().st_size))
    return found


async def publish(objects: ObjectStore, directory: Path, job_id: str) -> None:
    """Put a job's files where every host finds them. May be repeated."""
    for file in await asyncio.to_thread(_listed, directory, ""):
        await objects.put(
            prefix_of(job_id) + file.name, LocalJobFiles(directory.parent).read(job_id, file.name)
        )


# (worker, job, name, offset) → bytes, from a living worker.
ReadFrom = Callable[[str, str, str, int], AsyncIterator[bytes]]


class SharedJobFiles:
    """Those of a cluster: of jobs that have ended in the object store, of the others with their workers."""

    def __init__(self, store: Store, objects: ObjectStore, read_from: ReadFrom) -> None:
        self._store = store
        self._objects = objects
        self._read_from = read_from

    async def read(self, job_id: str, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        """See JobFiles."""
        worker = await self._worker(job_id)
        if worker is None:
            async for piece in self._objects.get(prefix_of(job_id) + name, offset=offset):
                yield piece
            return
        async for piece in self._read_from(worker, job_id, name, offset):
            yield piece

    async def list(self, job_id: str, prefix: str = "") -> Sequence[JobFile]:
        """See JobFiles. Of a job that runs: nothing, its events have all that its logs have."""
        begin = prefix_of(job_id)
        found = await self._objects.list(begin + prefix)
        return [JobFile(each.key.removeprefix(begin), each.size_bytes) for each in found]

    async def remove(self, job_id: str) -> None:
        """See JobFiles."""
        await self._objects.remove_all(prefix_of(job_id))

    async def _worker(self, job_id: str) -> str | None:
        """Where a job runs; None once its files are in the object store."""
        job = await self._store.jobs.get(job_id)
        if job.task_id is None:
            return None
        task = await self._store.tasks.get(job.task_id)
        if task.state in ENDED:
            return None
        if job.worker_id is None or not job.attempt:
            raise NotFound("file of a job that has not begun", job_id)
        return job.worker_id


_: tuple[type[JobFiles], ...] = (LocalJobFiles, SharedJobFiles)
