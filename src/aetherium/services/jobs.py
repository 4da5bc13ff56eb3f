"""Jobs: submit, follow, cancel, look back."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aetherium.domain.errors import AetheriumError, Conflict, InvalidInput, InvalidTransition, NotFound
from aetherium.domain.ids import JOB, check_id, new_id
from aetherium.domain.jobs import JOB_LIFECYCLE, Job, JobEvent, JobSpec, JobState
from aetherium.domain.vms import VMSpec
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.jobs import JobRunner
from aetherium.services.host import Host
from aetherium.services.job_journal import FINISHED, FileJournal, read_events
from aetherium.services.masking import patterns

log = logging.getLogger(__name__)

# How often a job of another process is looked at.
_POLL_S = 0.3
_SHUT_DOWN = "The process that carried it out was shut down."


@dataclass(slots=True)
class _Running:
    """A job of this process."""

    journal: FileJournal
    task: asyncio.Task[None]
    done: asyncio.Event


class JobService:
    """See the methods. `ref` is an id, or a unique prefix of one.

    Args:
        group: owns the tasks that carry out jobs. `close` ends them, which has to happen while VMs can
            still be removed.
    """

    def __init__(self, host: Host, runner: JobRunner, group: asyncio.TaskGroup) -> None:
        self._host = host
        self._runner = runner
        self._group = group
        self._root = host.settings.data_dir / "jobs"
        self._slots = asyncio.Semaphore(host.settings.jobs_at_once)
        self._running: dict[str, _Running] = {}
        self._closing = False

    async def submit(self, spec: JobSpec, *, secrets: Mapping[str, str] | None = None) -> Job:
        """Record a job and begin it in the background, at most `jobs_at_once` (settings) at a time.

        Args:
            secrets: the values; held in memory until the job has ended.

        Raises InvalidInput when a secret is missing or is not asked for.
        """
        if self._closing:
            raise Conflict("No job is taken any more: Aetherium is shutting down.")
        _check(spec)
        values = _checked_secrets(spec, secrets or {})
        job = Job(
            id=new_id(JOB),
            spec=spec,
            state=JobState.PENDING,
            created_at=self._host.clock.now(),
            owner=self._host.owner,
        )
        await finish(self._begin(job, values))
        return job

    async def get(self, ref: str) -> Job:
        """Raises NotFound."""
        return await self._host.store.jobs.find(ref)

    async def list(self, *, states: Collection[JobState] = ()) -> Sequence[Job]:
        """Newest first."""
        return await self._host.store.jobs.list(states=states)

    async def cancel(self, ref: str) -> Job:
        """Ask it to end; its last event says when it has. Of a job that has ended nothing changes.

        Raises Conflict for a job of another process."""
        job = await self.get(ref)
        if JOB_LIFECYCLE.is_final(job.state):
            return job
        running = self._running.get(job.id)
        if running is None:
            raise Conflict(
                f"The job {job.id} is carried out by another process.", hint="Interrupt that one (Ctrl-C)."
            )
        running.task.cancel()
        return job

    async def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[JobEvent]:
        """What has happened from the event after `after` on, then live, up to its end."""
        offset, seq = 0, 0
        ended: Job | None = None
        while True:
            batch, offset = await read_events(self.directory(job_id), offset)
            for event in batch:
                seq = event.seq
                if seq > after:
                    yield event
                if event.kind == FINISHED:
                    return
            if batch:
                continue
            if ended is not None:
                break
            ended = await self._await_more(job_id, offset)
        if seq + 1 > after:  # it was killed, or could not write its last words
            yield JobEvent(seq + 1, ended.ended_at or ended.created_at, FINISHED, finished(ended))

    async def wait(self, job_id: str) -> Job:
        """The job as it ended."""
        running = self._running.get(job_id)
        if running is not None:
            await running.done.wait()
            return await self.get(job_id)
        async for _ in self.events(job_id):
            continue
        return await self.get(job_id)

    def directory(self, job_id: str) -> Path:
        """Where its events, logs, artifacts and patch are. Raises InvalidInput for what is no id."""
        return self._root / check_id(job_id, JOB)

    async def delete(self, ref: str) -> None:
        """Remove a job that has ended, with all that it brought back. Raises Conflict if it has not."""
        job = await self.get(ref)
        if not JOB_LIFECYCLE.is_final(job.state) or job.id in self._running:
            raise Conflict(f"The job {job.id} is {job.state}.", hint="Cancel it first.")
        await self._host.store.jobs.remove(job.id)
        await asyncio.to_thread(shutil.rmtree, self.directory(job.id), ignore_errors=True)

    async def close(self) -> None:
        """Take no more jobs, cancel those that run, and wait until their VMs are gone."""
        self._closing = True
        running = tuple(self._running.values())
        for each in running:
            each.task.cancel()
        await asyncio.gather(*(each.task for each in running), return_exceptions=True)

    async def _begin(self, job: Job, secrets: Mapping[str, str]) -> None:
        await self._host.store.jobs.add(job)
        limit = self._host.settings.job_log_mib << 20
        forms = patterns(secrets.values())
        journal = FileJournal(self.directory(job.id), self._host.clock, limit, forms)
        done = asyncio.Event()
        task = self._group.create_task(self._carry_out(job, secrets, journal, done), name=job.id)
        self._running[job.id] = _Running(journal, task, done)
        await asyncio.sleep(0)  # lets it begin: a task that is cancelled before that does nothing at all

    async def _carry_out(
        self, job: Job, secrets: Mapping[str, str], journal: FileJournal, done: asyncio.Event
    ) -> None:
        """The task of one job: whatever happens, it ends with a row that says how."""
        try:
            async with journal.writing():
                ended = await self._run(job, secrets, journal)
                await journal.flush()
                ended = await finish(self._save_end(ended))
                journal.emit(FINISHED, **finished(ended))
        except Exception:
            log.exception("The job %s could not be recorded.", job.id)
        finally:
            self._running.pop(job.id, None)
            done.set()

    async def _run(self, job: Job, secrets: Mapping[str, str], journal: FileJournal) -> Job:
        last = job

        async def save(changed: Job) -> Job:
            nonlocal last
            last = changed
            return await self._host.store.jobs.save(changed)

        try:
            async with self._slots:
                started = replace(job, state=JobState.RUNNING, started_at=self._host.clock.now())
                return await self._runner.run(await save(started), secrets, journal, save)
        except asyncio.CancelledError:
            return replace(last, state=JobState.CANCELLED, error=_SHUT_DOWN if self._closing else "")
        except AetheriumError as error:
            return replace(last, state=JobState.FAILED, error_code=error.code, error=str(error))
        except Exception:
            log.exception("The job %s failed by a defect.", job.id)
            return replace(
                last,
                state=JobState.FAILED,
                error_code="internal",
                error="Aetherium failed; its log says how.",
            )

    async def _save_end(self, job: Job) -> Job:
        ended = replace(job, ended_at=self._host.clock.now())
        try:
            return await self._host.store.jobs.save(ended)
        except (InvalidTransition, NotFound) as error:
            log.warning("The end of the job %s was recorded by somebody else: %s", job.id, error)
            return ended

    async def _await_more(self, job_id: str, offset: int) -> Job | None:
        """Wait until there may be more events than up to `offset`. The job, once there will be none."""
        running = self._running.get(job_id)
        if running is None:
            job = await self._host.store.jobs.get(job_id)
            if JOB_LIFECYCLE.is_final(job.state):
                return job
            await self._host.clock.sleep(_POLL_S)
            return None
        more = asyncio.ensure_future(running.journal.beyond(offset))
        end = asyncio.ensure_future(running.done.wait())
        try:
            await asyncio.wait({more, end}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            more.cancel()
            end.cancel()
            await asyncio.gather(more, end, return_exceptions=True)
        return None


def finished(job: Job) -> dict[str, object]:
    """The data of a job's last event."""
    return {
        "state": str(job.state),
        "exit_code": job.exit_code,
        "error_code": job.error_code,
        "error": job.error,
    }


def _check(spec: JobSpec) -> None:
    """Refuse what job files cannot hold but other callers can send."""
    if not spec.workdir.startswith("/") or spec.workdir.rstrip("/") == "":
        raise InvalidInput(
            f"The workdir is {spec.workdir!r}.", hint="Give an absolute path below the root.", field="workdir"
        )
    for rule in spec.artifacts:
        name = rule.name
        if (
            not name
            or name in (".", "..")
            or not name.isprintable()
            or "/" in name
            or len(name.encode()) > 200
        ):
            raise InvalidInput(
                f"An artifact cannot have the name {name!r}.",
                hint="Use a short name without slashes.",
                field="artifacts",
            )
    for pattern in (*(rule.pattern for rule in spec.artifacts), *spec.reports):
        if not pattern or "\0" in pattern or ".." in pattern.split("/"):
            raise InvalidInput(
                f"The pattern {pattern!r} cannot be used.",
                hint="Give one relative to the workdir, or an absolute one, without '..'.",
                field="artifacts",
            )
    VMSpec(labels=spec.labels)  # refuses labels that no VM can have


def _checked_secrets(spec: JobSpec, secrets: Mapping[str, str]) -> Mapping[str, str]:
    wanted = {*spec.secrets, *(name for step in spec.steps for name in step.secrets or ())}
    missing, unknown = sorted(wanted - secrets.keys()), sorted(secrets.keys() - wanted)
    if missing:
        raise InvalidInput(
            f"The job needs the secret {missing[0]!r}, which was not given.",
            hint=f"Give it: --secret {missing[0]}",
            field="secrets",
        )
    if unknown:
        raise InvalidInput(
            f"The secret {unknown[0]!r} was given, but no step asks for it.",
            hint="Name it under 'secrets' of the job.",
            field="secrets",
        )
    return dict(secrets)
