"""The JobRepository in SQL: the job is one JSON value; what is searched for stands in columns as well."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import Conflict, NotFound
from aetherium.domain.jobs import JOB_LIFECYCLE, Job, JobState
from aetherium.interfaces.store import JobRepository
from aetherium.storage.codec import dump, load
from aetherium.storage.database import Database
from aetherium.storage.finding import find_id
from aetherium.storage.tables import jobs


class SqlJobs:
    """See interfaces/store.py."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, job: Job) -> None:
        await self._database.write(lambda c: c.execute(sa.insert(jobs).values(_values(job))))

    async def get(self, job_id: str) -> Job:
        return await self._database.read(lambda c: _get(c, job_id))

    async def find(self, ref: str) -> Job:
        async def work(connection: AsyncConnection) -> Job:
            return await _get(connection, await find_id(connection, jobs, "job", ref))

        return await self._database.read(work)

    async def list(self, *, states: Collection[JobState] = ()) -> Sequence[Job]:
        query = sa.select(jobs.c.job).order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
        if states:
            query = query.where(jobs.c.state.in_(list(states)))

        async def work(connection: AsyncConnection) -> Sequence[Job]:
            return [load(Job, value) for value in await connection.scalars(query)]

        return await self._database.read(work)

    async def save(self, job: Job) -> Job:
        guard = set(JOB_LIFECYCLE.before(job.state))
        if not JOB_LIFECYCLE.is_final(job.state):
            guard.add(job.state)
        change = (
            sa.update(jobs).where(jobs.c.id == job.id, jobs.c.state.in_(sorted(guard))).values(_values(job))
        )

        async def work(connection: AsyncConnection) -> Job:
            if (await connection.execute(change)).rowcount:
                return job
            found = await _get(connection, job.id)
            JOB_LIFECYCLE.check(found.state, job.state, job.id)
            raise Conflict(f"The job {job.id} was changed by somebody else.")

        return await self._database.write(work)

    async def remove(self, job_id: str) -> bool:
        result = await self._database.write(lambda c: c.execute(sa.delete(jobs).where(jobs.c.id == job_id)))
        return result.rowcount > 0


async def _get(connection: AsyncConnection, job_id: str) -> Job:
    value = await connection.scalar(sa.select(jobs.c.job).where(jobs.c.id == job_id))
    if value is None:
        raise NotFound("job", job_id)
    return load(Job, value)


def _values(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.spec.name,
        "state": job.state,
        "owner": job.owner,
        "vm_id": job.vm_id,
        "created_at": job.created_at,
        "job": dump(job),
    }


_: type[JobRepository] = SqlJobs
