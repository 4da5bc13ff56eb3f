"""The parts of jobs that have tables of their own: results of steps, and artifacts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.jobs import Job
from aetherium.storage.codec import dump
from aetherium.storage.tables import artifacts, steps

_PARTS = ("steps", "artifacts")


def without_parts(job: dict[str, Any]) -> dict[str, Any]:
    """A job's JSON value as it stands in its row."""
    return {name: value for name, value in job.items() if name not in _PARTS}


async def read_parts(
    connection: AsyncConnection, job_ids: sa.Select[tuple[str]]
) -> Mapping[str, Mapping[str, Any]]:
    """What belongs into the JSON values of the jobs that the query gives."""
    found: defaultdict[str, dict[str, list[Any]]] = defaultdict(lambda: {name: [] for name in _PARTS})
    for name, table, value in (
        ("steps", steps, steps.c.step),
        ("artifacts", artifacts, artifacts.c.artifact),
    ):
        query = sa.select(table.c.job_id, value).where(table.c.job_id.in_(job_ids))
        for job_id, part in await connection.execute(query.order_by(table.c.job_id, table.c.number)):
            found[job_id][name].append(part)
    return found


async def write_parts(connection: AsyncConnection, job: Job, *, fresh: bool = False) -> None:
    """Replace them. `fresh`: the job has none yet."""
    if not fresh:
        await connection.execute(sa.delete(steps).where(steps.c.job_id == job.id))
        await connection.execute(sa.delete(artifacts).where(artifacts.c.job_id == job.id))
    done = [{"job_id": job.id, "number": number, "step": dump(step)} for number, step in enumerate(job.steps)]
    if done:
        await connection.execute(sa.insert(steps), done)
    # Of two with one path the later one is what lies there.
    by_path = {artifact.path: artifact for artifact in job.artifacts}
    brought = [
        {"job_id": job.id, "path": path, "number": number, "artifact": dump(artifact)}
        for number, (path, artifact) in enumerate(by_path.items())
    ]
    if brought:
        await connection.execute(sa.insert(artifacts), brought)
