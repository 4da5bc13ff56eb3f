"""Who carries out jobs, and to whom it tells what happens."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aetherium.domain.jobs import Job


class JobJournal(Protocol):
    """What happens in a job, written down. Secret values are masked."""

    @property
    def directory(self) -> Path:
        """The job's directory on this host."""
        ...

    def mask(self, values: Iterable[str]) -> None:
        """Mask these values too, from now on, in whatever is emitted; output comes masked."""
        ...

    def emit(self, kind: str, **data: object) -> None:
        """Something has happened; see domain.jobs.JobEvent. Does not wait."""
        ...

    def output(self, step: str, stream: str, text: str) -> None:
        """A step has written `text`. Beyond the journal's limit it is dropped, which is told once."""
        ...

    async def room(self) -> None:
        """Wait until not too much is still to be written. Raises Unavailable when it cannot be written."""
        ...


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file of a job; its name is relative to the job's directory."""

    name: str
    size_bytes: int


# Where a job's files have what it begins with, if that was packed for it.
SOURCE = "source.tar"


class JobFiles(Protocol):
    """What jobs have written: events, logs, artifacts, patches. Raises NotFound for what is not there or lies
    outside the job's directory, Unavailable when its host or the object store cannot be reached."""

    def read(self, job_id: str, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        """What a file holds now, from `offset` on."""
        ...

    async def list(self, job_id: str, prefix: str = "") -> Sequence[JobFile]:
        """All whose name begins with `prefix`, by name; empty for a job that has not begun."""
        ...

    async def put(self, job_id: str, name: str, data: AsyncIterable[bytes]) -> None:
        """Write a file of a job that has not begun; see SOURCE."""
        ...

    async def remove(self, job_id: str) -> None:
        """All of them. Idempotent."""
        ...


# Records a job as it is now; the answer is the job.
SaveJob = Callable[[Job], Awaitable[Job]]


class JobRunner(Protocol):
    """Carries out jobs."""

    async def run(self, job: Job, secrets: Mapping[str, str], journal: JobJournal, save: SaveJob) -> Job:
        """Carry out `job`, which is ``running``; the job as it ended, not yet saved.

        Everything that goes wrong with it is in the result; what is raised is a defect. When cancelled, its
        VM is gone before CancelledError comes out, and what was done so far was saved.
        """
        ...
