"""What `run` and `job` share: following a job, and saving what it brought back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from aetherium.cli.jobview import JobView
from aetherium.cli.output import plain
from aetherium.cli.runtime import Command
from aetherium.client import saving
from aetherium.domain.errors import ChannelClosed, InvalidInput, NotFound, ProtocolViolation

if TYPE_CHECKING:
    from aetherium.domain.jobs import Job

LOGS, PATCH, DELTA = "logs", "changes.patch", "delta.patch"


async def follow(command: Command, job_id: str, view: JobView) -> Job:
    """Show a job's events to its end."""
    async with command.client.jobs.events(job_id) as events:
        async for event in events:
            await view.show(event)
    return await command.client.jobs.get(job_id)


async def save(command: Command, job: Job, directory: Path) -> dict[str, str]:
    """Write a job's logs, artifacts, patches and record into `directory`; what was written, by label."""
    await asyncio.to_thread(_make, directory)
    saved: dict[str, str] = {}
    jobs = command.client.jobs
    for artifact in job.artifacts:
        target = below(directory, artifact.path)
        await saving.save(jobs.artifact(job.id, artifact.path), target)
        saved[f"artifact {artifact.name}"] = str(target)
    for log in await jobs.logs(job.id):
        target = below(directory / LOGS, log.name)
        await saving.save(jobs.log(job.id, log.name), target)
        saved["logs"] = str(target.parent)
    if job.patch is not None:
        await saving.save(jobs.patch(job.id), directory / PATCH)
        saved["patch"] = str(directory / PATCH)
        if job.patch.delta:
            await saving.save(jobs.patch(job.id, delta=True), directory / DELTA)
            saved["patch against what was delivered"] = str(directory / DELTA)
    await saving.save(_one(json.dumps(plain(job), indent=2).encode()), directory / "job.json")
    return saved


async def save_patch(command: Command, job: Job, path: Path) -> bool:
    """Write the job's patch to `path`; an empty file if nothing was changed. Whether there were changes."""
    pieces = _one(b"") if job.patch is None else command.client.jobs.patch(job.id)
    await saving.save(pieces, path)
    return job.patch is not None


def below(directory: Path, name: str) -> Path:
    """`name`, which a VM may have chosen, as a path below `directory`. Raises ProtocolViolation."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise ProtocolViolation(f"An artifact has the path {name!r}, which leads elsewhere.")
    return directory.joinpath(*parts)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"The directory {str(directory)!r} cannot be made: {error.strerror}.", field="output"
        ) from error


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def cancel_and_wait(command: Command, job_id: str, *, timeout_s: float) -> None:
    """Cancel a job, and wait until its VM is gone."""
    try:
        async with asyncio.timeout(timeout_s):
            await command.client.jobs.cancel(job_id)
            await command.client.jobs.wait(job_id)
    except (TimeoutError, NotFound, ChannelClosed):
        command.output.warn(f"The job {job_id} has not said that it ended. See: aetherium job get {job_id}")
