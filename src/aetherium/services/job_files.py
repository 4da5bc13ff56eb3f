"""The files of jobs: on this host, or where a cluster keeps them."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import ExitStack, aclosing
from io import FileIO
from pathlib import Path

from aetherium.domain.errors import InvalidInput, NotFound
from aetherium.domain.ids import JOB, check_id
from aetherium.domain.tasks import ENDED
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.jobs import SOURCE, JobFile, JobFiles
from aetherium.interfaces.objects import ObjectStore
from aetherium.interfaces.store import Store

log = logging.getLogger(__name__)

_PIECE = 256 * 1024
# Files that are sent at the same time: most are small, and wait for the store more than for their bytes.
_AT_ONCE = 4
# An upload is written without a pause, and then its job gets its row at once.
_SUBMITTING_S = 600.0
_STEP = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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

    async def read(self, job_id: str, name: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """See JobFiles."""
        directory = self._root / check_id(job_id, JOB)
        with ExitStack() as stack:
            # `finish`: nobody may close the file while a thread is at it.
            file = await finish(
                asyncio.to_thread(lambda: stack.enter_context(_open(directory, name, offset)))
            )
            while piece := await finish(asyncio.to_thread(file.read, _PIECE)):
                yield piece

    async def list(self, job_id: str, prefix: str = "") -> Sequence[JobFile]:
        """See JobFiles."""
        return await asyncio.to_thread(_listed, self._root / check_id(job_id, JOB), prefix)

    async def put(self, job_id: str, name: str, data: AsyncIterable[bytes]) -> None:
        """See JobFiles."""
        directory = self._root / check_id(job_id, JOB)
        await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
        with await asyncio.to_thread((directory / name).open, "xb") as file:
            async for piece in data:
                await finish(asyncio.to_thread(file.write, piece))

    async def remove(self, job_id: str) -> None:
        """See JobFiles."""
        await asyncio.to_thread(shutil.rmtree, self._root / check_id(job_id, JOB), ignore_errors=True)


def _open(directory: Path, name: str, offset: int) -> FileIO:
    """Raises NotFound, also for what would leave the directory, is no ordinary file, or leads over a link."""
    parts = name.split("/")
    if {"", ".", ".."} & set(parts):
        raise NotFound("file of the job", name)
    try:
        fd = _walk(directory, parts)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise NotFound("file of the job", name) from error
    file = FileIO(fd)
    file.seek(offset)
    return file


def _walk(directory: Path, parts: Sequence[str]) -> int:
    """Step by step, so that no link is followed even if it is made meanwhile."""
    fd = os.open(directory, _STEP | os.O_DIRECTORY)
    for part in parts:
        try:
            below = os.open(part, _STEP, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, "no ordinary file")
    return fd


def _listed(directory: Path, prefix: str) -> list[JobFile]:
    found = []
    for above, _, names in os.walk(directory):
        for path in (Path(above, name) for name in names):
            name, facts = path.relative_to(directory).as_posix(), path.lstat()
            if name.startswith(prefix) and stat.S_ISREG(facts.st_mode):
                found.append(JobFile(name, facts.st_size))
    return sorted(found, key=lambda file: file.name)


def being_submitted(directory: Path) -> bool:
    """Whether a job may be about to get its row: all that it has is what was uploaded for it, a while ago at
    most."""
    try:
        if {path.name for path in directory.iterdir()} - {SOURCE}:
            return False
        newest = max(path.stat().st_mtime for path in (directory, *directory.iterdir()))
    except FileNotFoundError:
        return False
    return time.time() - newest < _SUBMITTING_S


async def publish(objects: ObjectStore, directory: Path, job_id: str, prefix: str = "") -> None:
    """Put a job's files whose name begins with `prefix` where every host finds them, some at a time. May be
    repeated."""
    files = LocalJobFiles(directory.parent)
    waiting = iter(await asyncio.to_thread(_listed, directory, prefix))

    async def work() -> None:
        for file in waiting:
            async with aclosing(files.read(job_id, file.name)) as pieces:
                try:
                    await objects.put(prefix_of(job_id) + file.name, pieces)
                except InvalidInput as error:  # a guest may name its artifacts as it likes
                    log.warning("A file of the job %s stays on its worker: %s", job_id, error)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


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
        if worker is not None:
            async for piece in self._read_from(worker, job_id, name, offset):
                yield piece
            return
        try:
            async with aclosing(self._objects.get(prefix_of(job_id) + name, offset=offset)) as pieces:
                async for piece in pieces:
                    yield piece
        except (NotFound, InvalidInput) as error:
            raise NotFound("file of the job", name) from error

    async def list(self, job_id: str, prefix: str = "") -> Sequence[JobFile]:
        """See JobFiles. Of a job that runs: nothing, its events have all that its logs have."""
        begin = prefix_of(job_id)
        # The store lists folders, and a prefix may end in the middle of a name.
        found = await self._objects.list(begin + prefix.rpartition("/")[0])
        return [
            JobFile(each.key.removeprefix(begin), each.size_bytes)
            for each in found
            if each.key.startswith(begin + prefix)
        ]

    async def put(self, job_id: str, name: str, data: AsyncIterable[bytes]) -> None:
        """See JobFiles."""
        await self._objects.put(prefix_of(job_id) + name, data)

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
