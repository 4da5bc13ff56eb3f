"""The handler of ``job.run``: carries out a job, and keeps its record and its journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from aetherium.domain.errors import AetheriumError, Conflict, InvalidTransition, NotFound
from aetherium.domain.jobs import JOB_LIFECYCLE, Job, JobState
from aetherium.interfaces.bus import EventBus
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.handlers import Attempt, TaskResult
from aetherium.interfaces.jobs import JobRunner
from aetherium.services.host import Host
from aetherium.services.job_journal import EVENTS, FINISHED, FileJournal, finished
from aetherium.services.jobs import job_topic
from aetherium.services.masking import patterns

log = logging.getLogger(__name__)

# The host's troubles, not the job's: another attempt may go well.
WORTH_ANOTHER = frozenset(
    {"unavailable", "channel_closed", "vm_crashed", "vm_unresponsive", "boot_failed", "internal"}
)
# Events of an attempt are numbered from here times the attempts before it on: they go on growing though the
# next attempt may write on another host.
ATTEMPT_SEQ = 10_000_000

# (directory, job, begin of the files' names)
Publish = Callable[[Path, str, str], Awaitable[None]]


async def stay_here(_directory: Path, _job_id: str, _prefix: str) -> None:
    """For an installation of one host."""


class AttemptFailed(AetheriumError):
    """An attempt at a job failed by something that may pass; `code` is what it was."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.error)
        self.code = job.error_code  # type: ignore[misc]  # what failed, not that it failed


class JobHandler:
    """Runs jobs on this worker.

    Args:
        root: where they keep what they write.
        publish: puts a job's files where other hosts find them.
    """

    def __init__(
        self, host: Host, runner: JobRunner, bus: EventBus, root: Path, publish: Publish = stay_here
    ) -> None:
        self._host = host
        self._runner = runner
        self._bus = bus
        self._root = root
        self._publish = publish

    async def __call__(self, attempt: Attempt) -> TaskResult:
        """See Handler."""
        job = await self._host.store.jobs.get(attempt.payload.job_id)
        if JOB_LIFECYCLE.is_final(job.state):
            return _result(job)  # an earlier attempt ended before it could say so
        secrets = await attempt.secrets()
        begun = Job(
            job.id,
            job.spec,
            JobState.RUNNING,
            job.created_at,
            started_at=self._host.clock.now(),
            owner=self._host.owner,
            task_id=attempt.task.id,
            attempt=attempt.task.attempt,
            project_id=job.project_id,
            worker_id=attempt.task.worker_id,
        )
        journal = self._journal(begun, secrets)
        async with journal.writing():
            if attempt.task.error:
                why = f"Attempt {begun.attempt}, from the beginning. {attempt.task.error}"
                journal.emit("warning", message=why)
            teller = asyncio.ensure_future(self._tell(begun.id, journal))
            try:
                ended = await self._carry_out(begun, secrets, journal, attempt)
            finally:
                teller.cancel()
                await asyncio.gather(teller, return_exceptions=True)
        await self._bus.publish(job_topic(job.id))
        if ended.state is JobState.CANCELLED:
            raise asyncio.CancelledError
        return _result(ended)

    def _journal(self, job: Job, secrets: Mapping[str, str]) -> FileJournal:
        limit = self._host.settings.job_log_mib << 20
        first = (job.attempt - 1) * ATTEMPT_SEQ
        forms = patterns(secrets.values())
        return FileJournal(self._root / job.id, self._host.clock, limit, forms, seq=first)

    async def _tell(self, job_id: str, journal: FileJournal) -> None:
        """Say on the bus that there are new events."""
        size = -1
        while True:
            size = await journal.beyond(size)
            await self._bus.publish(job_topic(job_id))

    async def _carry_out(
        self, begun: Job, secrets: Mapping[str, str], journal: FileJournal, attempt: Attempt
    ) -> Job:
        """The job as it ended and was recorded. Raises CancelledError when it is handed back."""
        last = begun

        async def save(changed: Job) -> Job:
            nonlocal last
            last = changed
            return await self._host.store.jobs.save(changed, fenced=True)

        try:
            ended = await self._runner.run(await save(begun), secrets, journal, save)
        except asyncio.CancelledError:
            if attempt.handed_back:
                journal.emit("warning", message="The attempt was cut; the job is begun anew.")
                raise
            ended = replace(last, state=JobState.CANCELLED)
        except Conflict:
            raise  # somebody else goes on with the task
        except AetheriumError as error:
            ended = replace(last, state=JobState.FAILED, error_code=error.code, error=str(error))
        except Exception:
            log.exception("The job %s failed by a defect.", begun.id)
            ended = replace(
                last,
                state=JobState.FAILED,
                error_code="internal",
                error="Aetherium failed; its log says how.",
            )
        if ended.state is JobState.FAILED and ended.error_code in WORTH_ANOTHER and not attempt.last:
            journal.emit("warning", message=f"{ended.error} The job is tried again.")
            raise AttemptFailed(ended)
        return await finish(self._end(ended, journal))

    async def _end(self, job: Job, journal: FileJournal) -> Job:
        """Its files go first: who is killed after the record was written has lost no more than its last
        words, which readers make up for."""
        await journal.flush()
        await self._publish(journal.directory, job.id, "")
        ended = replace(job, ended_at=self._host.clock.now(), owner=None)
        try:
            ended = await self._host.store.jobs.save(ended, fenced=True)
        except (InvalidTransition, NotFound) as error:
            log.warning("The end of the job %s was recorded by somebody else: %s", job.id, error)
        journal.emit(FINISHED, **finished(ended))
        await journal.flush()
        try:
            await self._publish(journal.directory, job.id, EVENTS)
        except AetheriumError as error:
            log.warning("The last event of the job %s was not published: %s", job.id, error)
        return ended


def _result(job: Job) -> TaskResult:
    data = {"job_id": job.id, "state": str(job.state), "exit_code": job.exit_code}
    if job.error:
        data |= {"error_code": job.error_code, "error": job.error}
    return TaskResult(data, ok=job.state is JobState.SUCCEEDED)
