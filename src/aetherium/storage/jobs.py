"""The JobRepository in SQL: the job is one JSON value, but for its steps and artifacts, which have tables of
their own; what is searched for stands in columns as well.

A job that a task carries out follows its task: `reopen` and `close_lost` are called in the transaction that
changes the task.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import Conflict, NotFound
from aetherium.domain.jobs import JOB_LIFECYCLE, Job, JobState
from aetherium.domain.tasks import ACTIVE, Task, TaskState
from aetherium.interfaces.store import JobFilter, JobRepository
from aetherium.storage.codec import dump, load
from aetherium.storage.database import Database
from aetherium.storage.finding import find_id
from aetherium.storage.jobparts import read_parts, without_parts, write_parts
from aetherium.storage.listing import created, in_order, labelled
from aetherium.storage.scope import EVERYTHING, Scope, seen, stamped
from aetherium.storage.tables import jobs, tasks

# What becomes of a job whose task has ended without it.
_AFTER = {TaskState.DEAD: JobState.FAILED, TaskState.CANCELLED: JobState.CANCELLED}
_UNFINISHED = sorted(state for state in JobState if not JOB_LIFECYCLE.is_final(state))


class SqlJobs:
    """See interfaces/store.py. A worker lists its own jobs, but finds every one: a job comes to its worker
    with the task, whoever has added it."""

    def __init__(self, database: Database, scope: Scope = EVERYTHING) -> None:
        self._database = database
        self._scope = scope
        self._listed = seen(jobs, scope)
        self._found = seen(jobs, scope.of_project)

    async def add(self, job: Job) -> None:
        owned = replace(job, **stamped({}, self._scope))

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(sa.insert(jobs).values(_values(owned)))
            await write_parts(connection, owned, fresh=True)

        await self._database.write(work)

    async def get(self, job_id: str) -> Job:
        return await self._database.read(lambda c: _get(c, job_id))

    async def find(self, ref: str) -> Job:
        async def work(connection: AsyncConnection) -> Job:
            return await _get(connection, await find_id(connection, jobs, "job", ref, among=self._found))

        return await self._database.read(work)

    async def list(
        self,
        *,
        limit: int | None = None,
        before: str = "",
        oldest_first: bool = False,
        **where: Unpack[JobFilter],
    ) -> Sequence[Job]:
        chosen = sa.select(jobs.c.id).where(self._listed, *_conditions(where))
        which = in_order(chosen, jobs.c.id, before, oldest_first=oldest_first).limit(limit)
        found = await self._database.read(lambda c: _jobs(c, which))
        return found[::-1] if oldest_first else found

    async def save(self, job: Job, *, fenced: bool = False) -> Job:
        guard = set(JOB_LIFECYCLE.before(job.state))
        if not JOB_LIFECYCLE.is_final(job.state):
            guard.add(job.state)
        change = (
            sa.update(jobs).where(jobs.c.id == job.id, jobs.c.state.in_(sorted(guard))).values(_values(job))
        )

        async def work(connection: AsyncConnection) -> Job:
            if fenced:
                await _require_attempt(connection, job)
            if (await connection.execute(change)).rowcount:
                await write_parts(connection, job)
                return job
            found = await _get(connection, job.id)
            JOB_LIFECYCLE.check(found.state, job.state, job.id)
            raise Conflict(f"The job {job.id} was changed by somebody else.")

        return await self._database.write(work)

    async def remove(self, job_id: str) -> bool:
        result = await self._database.write(lambda c: c.execute(sa.delete(jobs).where(jobs.c.id == job_id)))
        return result.rowcount > 0

    async def remove_of(self, task_ids: Collection[str]) -> Sequence[str]:
        change = (
            sa.delete(jobs)
            .where(jobs.c.task_id.in_(sorted(task_ids)), jobs.c.state.not_in(_UNFINISHED))
            .returning(jobs.c.id)
        )
        return await self._database.write(lambda c: _ids(c, change))


def _conditions(where: JobFilter) -> Sequence[sa.ColumnElement[bool]]:
    found = [
        *created(jobs, where.get("created_after"), where.get("created_before")),
        *labelled(jobs.c.job, ("spec", "labels"), where.get("labels", {})),
    ]
    if states := where.get("states"):
        found.append(jobs.c.state.in_(sorted(states)))
    if name := where.get("name"):
        found.append(jobs.c.name.startswith(name, autoescape=True))
    return found


async def _ids(connection: AsyncConnection, change: Any) -> Sequence[str]:
    return (await connection.scalars(change)).all()


async def reopen(connection: AsyncConnection, task_ids: Collection[str], *, ended: bool = False) -> None:
    """The tasks wait again, and so do their jobs, from the beginning.

    Args:
        ended: also the jobs that have ended, since people want them done anew.
    """
    states = sorted(JobState) if ended else [JobState.RUNNING]
    for job in await _of_tasks(connection, task_ids, states):
        fresh = Job(
            job.id,
            job.spec,
            JobState.PENDING,
            job.created_at,
            task_id=job.task_id,
            attempt=job.attempt,
            project_id=job.project_id,
        )
        await _overwrite(connection, fresh)


async def close_lost(connection: AsyncConnection, ended: Collection[Task]) -> None:
    """The tasks have ended: jobs that did not say how end with them."""
    by_id = {task.id: task for task in ended if task.state in _AFTER}
    for job in await _of_tasks(connection, by_id, _UNFINISHED):
        task = by_id[job.task_id or ""]
        closed = replace(
            job,
            state=_AFTER[task.state],
            ended_at=task.ended_at,
            error_code=task.error_code,
            error=task.error,
            owner=None,
        )
        await _overwrite(connection, closed)


async def _require_attempt(connection: AsyncConnection, job: Job) -> None:
    """Go on only if the job's attempt is the present one of its task, and does not end before this
    transaction does: the task's row is locked, as it is by whoever ends the attempt. Raises Conflict."""
    query = (
        sa.select(tasks.c.id)
        .where(tasks.c.id == job.task_id, tasks.c.attempt == job.attempt, tasks.c.state.in_(sorted(ACTIVE)))
        .with_for_update(read=True)
    )
    if await connection.scalar(query) is None:
        raise Conflict(
            f"The job {job.id} is not carried out by attempt {job.attempt} of its task any more.",
            task_id=job.task_id,
            attempt=job.attempt,
        )


async def _of_tasks(
    connection: AsyncConnection, task_ids: Collection[str], states: Collection[JobState]
) -> Sequence[Job]:
    """Locked."""
    if not task_ids:
        return []
    which = (
        sa.select(jobs.c.id)
        .where(jobs.c.task_id.in_(sorted(task_ids)), jobs.c.state.in_(states))
        .order_by(jobs.c.id)
    )
    ids = (await connection.scalars(which.with_for_update())).all()
    return await _jobs(connection, sa.select(jobs.c.id).where(jobs.c.id.in_(ids))) if ids else []


async def _overwrite(connection: AsyncConnection, job: Job) -> None:
    await connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(_values(job)))
    await write_parts(connection, job)


async def _get(connection: AsyncConnection, job_id: str) -> Job:
    found = await _jobs(connection, sa.select(jobs.c.id).where(jobs.c.id == job_id))
    if not found:
        raise NotFound("job", job_id)
    return found[0]


async def _jobs(connection: AsyncConnection, which: sa.Select[tuple[str]]) -> Sequence[Job]:
    """Those that the query of ids gives, newest first: three queries, however many they are."""
    chosen = which.subquery()
    query = sa.select(jobs.c.id, jobs.c.job).where(jobs.c.id.in_(sa.select(chosen.c.id)))
    rows = (await connection.execute(query.order_by(jobs.c.id.desc()))).all()
    if not rows:
        return []
    parts = await read_parts(connection, sa.select(chosen.c.id))
    return [load(Job, {**row.job, **parts[row.id]}) for row in rows]


def _values(job: Job) -> Mapping[str, Any]:
    return {
        "id": job.id,
        "name": job.spec.name,
        "state": job.state,
        "owner": job.owner,
        "vm_id": job.vm_id,
        "worker_id": job.worker_id,
        "task_id": job.task_id,
        "project_id": job.project_id,
        "created_at": job.created_at,
        "job": without_parts(dump(job)),
    }


_: type[JobRepository] = SqlJobs
