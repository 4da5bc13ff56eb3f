"""Jobs: submit, follow, cancel, look back. A task of type ``job.run`` carries each one out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Unpack

from aetherium.domain.errors import Conflict, InvalidInput, NotFound, Unavailable
from aetherium.domain.ids import JOB, check_id, new_id
from aetherium.domain.jobs import (
    JOB_LIFECYCLE,
    Job,
    JobEvent,
    JobSpec,
    JobState,
    PackedSource,
    StepLog,
    UploadSource,
)
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.tasks import Demand, Retry, TaskSpec
from aetherium.domain.vms import VMSpec
from aetherium.interfaces.bus import EventBus
from aetherium.interfaces.clock import Clock
from aetherium.interfaces.jobs import SOURCE, JobFiles
from aetherium.interfaces.store import JobFilter, Store
from aetherium.interfaces.task_store import NewTask
from aetherium.services.job_journal import EVENTS, FINISHED, finished, parse_events
from aetherium.services.sealing import Sealer
from aetherium.services.secrets.uses import SecretUses
from aetherium.services.task_types import JOB_RUN
from aetherium.services.tasks import TaskService
from aetherium.services.uploads import UploadService

# How often a job is looked at when nothing is heard of it.
_LOOK_S = 0.5
_LOGS = "logs"

# (job, spec) → the same job with a source that its worker can reach.
Prepare = Callable[[str, JobSpec], Awaitable[JobSpec]]


def job_topic(job_id: str) -> str:
    """Where the bus says that a job has gone on."""
    return f"job.{job_id}"


async def as_it_is(_: str, spec: JobSpec) -> JobSpec:
    """For an installation of one host: its worker finds the source where the submitter sees it."""
    return spec


class OwnWorker(Protocol):
    """The worker of a command that is its own platform: no orchestrator gives it anything."""

    async def begin(self) -> str:
        """Take tasks from now on; its id."""
        ...

    async def deliver(self, task_id: str) -> None:
        """Hand it the ticket of a task that was accepted for it."""
        ...


class JobService:
    """See the methods. `ref` is an id, or a unique prefix of one.

    Args:
        root: where jobs of this host keep what they write.
        prepare: makes of a job's source one that its worker can reach.
        uploads: files that jobs may begin with; None: there are none.
        own: the worker that jobs of this process run on; None: the orchestrator chooses.
    """

    def __init__(
        self,
        store: Store,
        tasks: TaskService,
        bus: EventBus,
        files: JobFiles,
        sealer: Sealer,
        uses: SecretUses,
        clock: Clock,
        root: Path,
        *,
        prepare: Prepare = as_it_is,
        uploads: UploadService | None = None,
        own: OwnWorker | None = None,
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._bus = bus
        self._files = files
        self._sealer = sealer
        self._uses = uses
        self._clock = clock
        self._root = root
        self._prepare = prepare
        self.uploads = uploads
        self._own = own

    async def submit(
        self,
        spec: JobSpec,
        *,
        secrets: Mapping[str, str] | None = None,
        project: str = DEFAULT_PROJECT,
        idempotency_key: str = "",
    ) -> Job:
        """Record a job; it is durable when this returns, and begins as soon as a worker has room.

        Args:
            secrets: values; they are kept sealed until the job has ended. Those that the job asks for and
                that are not here are the stored ones.

        Raises InvalidInput when one is given that is not asked for, NotFound when one is neither given nor
        stored, LimitExceeded (quota).
        """
        _check(spec)
        values = _asked_for(spec, secrets or {})
        await self._uses.expect(project, set(spec.secret_names) - values.keys(), spec.name)
        job = Job(new_id(JOB), spec, JobState.PENDING, self._clock.now())
        worker = None if self._own is None else await self._own.begin()
        new = self._tasks.prepare(
            _task(job, private=worker is not None), project=project, idempotency_key=idempotency_key
        )
        job = replace(job, task_id=new.id, project_id=project)
        sealed = replace(new, sealed=self._sealer.seal(values, new.id), worker_id=worker)
        await self._tasks.admit([sealed])
        accepted = await self._record(job, sealed)
        if self._own is not None:
            await self._own.deliver(new.id)
        await self._tasks.hint()
        return accepted

    async def get(self, ref: str) -> Job:
        """Raises NotFound."""
        return await self._store.jobs.find(ref)

    async def list(
        self,
        *,
        limit: int | None = None,
        before: str = "",
        oldest_first: bool = False,
        project: str | None = None,
        **where: Unpack[JobFilter],
    ) -> Sequence[Job]:
        """Newest first, unless `oldest_first`; of one project or of all; only what comes behind `before`."""
        store = self._store if project is None else self._store.of_project(project)
        return await store.jobs.list(limit=limit, before=before, oldest_first=oldest_first, **where)

    async def cancel(self, ref: str) -> Job:
        """Ask it to end; its last event says when it has. Of a job that has ended nothing changes."""
        job = await self.get(ref)
        if not JOB_LIFECYCLE.is_final(job.state) and job.task_id is not None:
            await self._tasks.cancel_all([job.task_id])
            await self._bus.publish(job_topic(job.id))
        return job

    async def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[JobEvent]:
        """What has happened from the event after `after` on, then live, up to its end."""
        seq = after
        attempt, offset = -1, 0
        async with self._bus.listen([job_topic(job_id)]) as hints:
            while True:
                job = await self._store.jobs.get(job_id)
                if job.attempt != attempt:  # another worker may carry it out now, and write another file
                    attempt, offset = job.attempt, 0
                batch, offset = await self._read_events(job_id, offset)
                for event in batch:
                    if event.seq > seq:
                        seq = event.seq
                        yield event
                    if event.kind == FINISHED:
                        return
                if batch:
                    continue
                if JOB_LIFECYCLE.is_final(job.state):
                    break
                await _heard(hints)
        # It was killed, cancelled before it began, or could not write its last words.
        yield JobEvent(seq + 1, job.ended_at or job.created_at, FINISHED, finished(job))

    async def wait(self, job_id: str) -> Job:
        """The job as it ended."""
        async with self._bus.listen([job_topic(job_id)]) as hints:
            while not JOB_LIFECYCLE.is_final((job := await self._store.jobs.get(job_id)).state):
                await _heard(hints)
        return job

    async def logs(self, ref: str) -> Sequence[StepLog]:
        """What its steps have written so far, in the order in which they began to write."""
        job = await self.get(ref)
        found = await self._files.list(job.id, f"{_LOGS}/")
        return [StepLog(each.name.removeprefix(f"{_LOGS}/"), each.size_bytes) for each in found]

    def read(self, job_id: str, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        """A file that it wrote: ``logs/…``, an artifact's or the patch's path. Raises NotFound."""
        return self._files.read(job_id, name, offset)

    def directory(self, job_id: str) -> Path:
        """Where a job of this host keeps its events, logs, artifacts and patch. Raises InvalidInput for what
        is no id."""
        return self._root / check_id(job_id, JOB)

    async def delete(self, ref: str) -> None:
        """Remove a job that has ended, with all that it brought back. Raises Conflict if it has not."""
        job = await self.get(ref)
        if not JOB_LIFECYCLE.is_final(job.state):
            raise Conflict(f"The job {job.id} is {job.state}.", hint="Cancel it first.")
        await self._store.jobs.remove(job.id)
        await self._files.remove(job.id)

    async def _record(self, job: Job, new: NewTask) -> Job:
        try:
            spec = await self._prepare(job.id, await self._with_upload(job))
            ready = replace(job, spec=spec)
            accepted = await self._store.transaction(lambda store: _accept(store, ready, new))
        except BaseException:
            await asyncio.shield(self._files.remove(job.id))
            raise
        if accepted.id != job.id:
            await self._files.remove(job.id)
        return accepted

    async def _with_upload(self, job: Job) -> JobSpec:
        """The job's spec; if it begins with an upload, that is now a file of the job."""
        source = job.spec.source
        if not isinstance(source, UploadSource):
            return job.spec
        if self.uploads is None:
            raise NotFound("upload", source.upload_id)
        async with self.uploads.opened(source, project=job.project_id) as delivery:
            async with aclosing(delivery.pieces) as pieces:
                await self._files.put(job.id, SOURCE, pieces)
            packed = PackedSource(delivery.commit, delivery.clean, delivery.warnings)
        return replace(job.spec, source=packed)

    async def _read_events(self, job_id: str, offset: int) -> tuple[Sequence[JobEvent], int]:
        data = bytearray()
        try:
            async for piece in self._files.read(job_id, EVENTS, offset):
                data += piece
                if len(data) > 1 << 20:
                    break
        except (NotFound, Unavailable):  # it has not begun, or its worker is lost
            return (), offset
        return parse_events(bytes(data), offset)


async def _accept(store: Store, job: Job, new: NewTask) -> Job:
    task = (await store.tasks.accept([new]))[0]
    if task.id != new.id:  # the key was used before
        return await store.jobs.get(str(task.spec.payload["job_id"]))
    await store.jobs.add(job)
    return job


def _task(job: Job, *, private: bool) -> TaskSpec:
    """The task that carries a job out. Its own timeout is the runner's, who brings back what there is."""
    spec = job.spec
    return TaskSpec(
        type=JOB_RUN,
        payload={"job_id": job.id},
        demand=Demand(
            vcpus=spec.resources.vcpus,
            memory_mib=spec.resources.memory_mib,
            driver=spec.driver,
            image=spec.image,
        ),
        # A command that is its own platform has no other worker to try it on.
        retry=Retry(max_attempts=1) if private else Retry(max_attempts=spec.attempts),
        priority=spec.priority,
        labels=spec.labels,
    )


async def _heard(hints: AsyncIterator[tuple[str, str]]) -> None:
    try:
        async with asyncio.timeout(_LOOK_S):
            await anext(hints)
    except TimeoutError:
        return


def _check(spec: JobSpec) -> None:
    """Refuse what job files cannot hold but other callers can send."""
    if isinstance(spec.source, PackedSource):
        raise InvalidInput("A packed source cannot be submitted.", hint="Name what to pack.", field="source")
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


def _asked_for(spec: JobSpec, secrets: Mapping[str, str]) -> Mapping[str, str]:
    unknown = sorted(secrets.keys() - set(spec.secret_names))
    if unknown:
        raise InvalidInput(
            f"The secret {unknown[0]!r} was given, but no step asks for it.",
            hint="Name it under 'secrets' of the job.",
            field="secrets",
        )
    return dict(secrets)
