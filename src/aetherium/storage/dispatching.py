"""What the orchestrator asks of the tasks: who waits, who goes where, what time does to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.tasks import WAITING, Task, TaskState
from aetherium.domain.workers import PRESENT, Usage, WorkerState
from aetherium.interfaces.task_store import Lane, Load
from aetherium.storage import leaders
from aetherium.storage.database import Database
from aetherium.storage.ending import DEADLINE, give_up
from aetherium.storage.tables import DUE, HELD, OVERDUE, READY, tasks, vms, workers
from aetherium.storage.taskrows import COLUMNS, states, to_task

_LANES_AT_ONCE = 40
_NEXT_LANE = f"""
    SELECT rank, project_id, type FROM tasks
    WHERE {READY} AND (rank, project_id, type) > (:rank, :project_id, :type)
    ORDER BY rank, project_id, type LIMIT 1
"""  # noqa: S608 - a constant
# One step of the index for each lane, however many tasks wait in it (a loose index scan).
_ALL_LANES = f"""
    WITH RECURSIVE lane AS (
        (SELECT rank, project_id, type FROM tasks WHERE {READY} ORDER BY rank, project_id, type LIMIT 1)
        UNION ALL
        SELECT following.* FROM lane, LATERAL (
            SELECT tasks.rank, tasks.project_id, tasks.type FROM tasks
            WHERE {READY}
                AND (tasks.rank, tasks.project_id, tasks.type) > (lane.rank, lane.project_id, lane.type)
            ORDER BY tasks.rank, tasks.project_id, tasks.type LIMIT 1
        ) AS following
    )
    SELECT rank, project_id, type FROM lane WHERE type NOT IN :without LIMIT :most
"""  # noqa: S608 - a constant


# Tasks that are placed or running, and VMs that outlive tasks: one round trip for both.
_IN_USE = sa.union_all(
    sa.select(
        tasks.c.worker_id,
        tasks.c.project_id,
        tasks.c.type,
        sa.func.count().label("tasks"),
        sa.func.sum(tasks.c.vcpus).label("vcpus"),
        sa.func.sum(tasks.c.memory_mib).label("memory_mib"),
        sa.func.sum(sa.case((tasks.c.vcpus > 0, 1), else_=0)).label("vms"),
    )
    .where(sa.text(HELD))
    .group_by(tasks.c.worker_id, tasks.c.project_id, tasks.c.type),
    sa.select(
        vms.c.worker_id,
        vms.c.project_id,
        sa.null(),
        sa.literal(0),
        sa.func.sum(vms.c.vcpus),
        sa.func.sum(vms.c.memory_mib),
        sa.func.count(),
    )
    .where(vms.c.owner.is_(None), vms.c.state.not_in(("stopped", "failed")))
    .group_by(vms.c.worker_id, vms.c.project_id),
)


async def lanes(connection: AsyncConnection, *, without_types: Collection[str], limit: int) -> Sequence[Lane]:
    """Lanes that have something waiting."""
    if connection.dialect.name == "postgresql":
        query = sa.text(_ALL_LANES).bindparams(
            sa.bindparam("without", list(without_types), sa.String, expanding=True)
        )
        return [Lane(*row) for row in await connection.execute(query, {"most": limit})]
    found: list[Lane] = []
    last: dict[str, Any] = {"rank": -1, "project_id": "", "type": ""}
    while len(found) < limit:
        row = (await connection.execute(sa.text(_NEXT_LANE), last)).mappings().first()
        if row is None:
            break
        last = dict(row)
        if last["type"] not in without_types:
            found.append(Lane(**last))
    return found


async def waiting(connection: AsyncConnection, wanted: Sequence[Lane], limit: int) -> Sequence[Task]:
    """The first of each lane."""
    found: list[Task] = []
    for begin in range(0, len(wanted), _LANES_AT_ONCE):
        some = wanted[begin : begin + _LANES_AT_ONCE]
        values: dict[str, object] = {"most": limit}
        for place, lane in enumerate(some):
            values |= {
                f"rank{place}": lane.rank,
                f"project{place}": lane.project_id,
                f"type{place}": lane.type,
            }
        rows = (await connection.execute(_firsts(len(some)), values)).mappings()
        found += [to_task(row) for row in rows]
    return found


@lru_cache
def _firsts(lanes: int) -> sa.Executable:
    """The statement for so many lanes."""
    parts = [_first(place) for place in range(lanes)]
    return parts[0] if lanes == 1 else sa.union_all(*parts)


def _first(place: int) -> sa.Select[Any]:
    inner = (
        sa.select(*COLUMNS)
        .where(
            sa.text(READY),
            tasks.c.rank == sa.bindparam(f"rank{place}"),
            tasks.c.project_id == sa.bindparam(f"project{place}"),
            tasks.c.type == sa.bindparam(f"type{place}"),
        )
        .order_by(tasks.c.ready_at, tasks.c.id)
        .limit(sa.bindparam("most", type_=sa.Integer))
        .subquery()
    )
    return sa.select(*inner.c)


def placing(database: Database) -> sa.Executable:
    """Give waiting tasks to workers, while an epoch is the present one: `given` is a JSON object of both, the
    rest see leaders.naming. One statement, whatever is placed where."""
    goes = database.pairs("given")
    leading = leaders.PRESENT.cte("leading")
    return (
        sa.update(tasks)
        .where(tasks.c.id == goes.c.key, sa.text(READY), sa.exists(sa.select(leading)))
        .values(worker_id=goes.c.value, placed_at=database.moment(), reason="")
        .returning(tasks.c.id)
    )


async def unclaimed(
    connection: AsyncConnection, database: Database, older_than_s: float, limit: int
) -> Sequence[Task]:
    """Placed and not claimed in time; taken from workers that take nothing any more."""
    taking = sa.select(workers.c.id).where(workers.c.state == WorkerState.ACTIVE)
    held = (sa.text(HELD), states(TaskState.QUEUED))
    await connection.execute(
        sa.update(tasks).where(*held, tasks.c.worker_id.not_in(taking)).values(worker_id=None, placed_at=None)
    )
    late = (
        sa.select(tasks.c.id)
        .where(*held, tasks.c.placed_at < database.moment(-older_than_s))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    change = (
        sa.update(tasks)
        .where(tasks.c.id.in_(late), states(TaskState.QUEUED))
        .values(placed_at=database.moment())
        .returning(*COLUMNS)
    )
    return [to_task(row) for row in (await connection.execute(change)).mappings()]


async def release_due(connection: AsyncConnection, database: Database, limit: int) -> int:
    """Scheduled tasks whose time has come."""
    due = (
        sa.select(tasks.c.id)
        .where(sa.text(DUE), tasks.c.run_at <= database.moment())
        .order_by(tasks.c.run_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    change = (
        sa.update(tasks)
        .where(tasks.c.id.in_(due), sa.text(DUE))
        .values(state=TaskState.QUEUED, ready_at=tasks.c.run_at, updated_at=database.moment())
    )
    return (await connection.execute(change)).rowcount


async def end_overdue(connection: AsyncConnection, database: Database, limit: int) -> Sequence[Task]:
    """Past their deadline; those that run are returned, to be told."""
    text = "It did not end before its deadline."
    overdue = (
        sa.select(tasks.c.id)
        .where(sa.text(OVERDUE), tasks.c.deadline <= database.moment())
        .where(states(*WAITING, TaskState.RUNNING))
        .limit(limit)
    )
    ids = list(await connection.scalars(overdue))
    if not ids:
        return ()
    await give_up(connection, database, tasks.c.id.in_(ids), error_code=DEADLINE, error=text)
    change = (
        sa.update(tasks)
        .where(tasks.c.id.in_(ids), states(TaskState.RUNNING))
        .values(state=TaskState.CANCELLING, error_code=DEADLINE, error=text, updated_at=database.moment())
        .returning(*COLUMNS)
    )
    return [to_task(row) for row in (await connection.execute(change)).mappings()]


async def load(connection: AsyncConnection) -> Load:
    """Sums over what is placed and running, and over VMs that outlive tasks."""
    by_worker: dict[str, Usage] = {}
    by_project: dict[str, Usage] = {}
    by_type: dict[str, int] = {}
    for row in (await connection.execute(_IN_USE)).mappings():
        if row["type"] is not None:
            by_type[row["type"]] = by_type.get(row["type"], 0) + row["tasks"]
        _add(by_worker, by_project, row)
    return Load(by_worker, by_project, by_type)


def _add(by_worker: dict[str, Usage], by_project: dict[str, Usage], row: Mapping[Any, Any]) -> None:
    more = Usage(row["tasks"], int(row["vcpus"]), int(row["memory_mib"]), int(row["vms"]))
    for table, key in ((by_worker, row["worker_id"] or ""), (by_project, row["project_id"])):
        table[key] = table.get(key, Usage()) + more


def claiming(database: Database) -> sa.Executable:
    """Begin attempts at tasks that are placed on a worker, while its lease holds, which it cannot lose before
    this transaction ends: `claims` is a JSON object of tasks and the numbers of their attempts that are to
    begin, `worker` and `incarnation` say whose they are. Gives COLUMNS."""
    claims = database.pairs("claims")
    at = database.moment()
    here = (
        sa.select(workers.c.id)
        .where(
            workers.c.id == sa.bindparam("worker"),
            workers.c.incarnation == sa.bindparam("incarnation"),
            workers.c.state.in_(sorted(PRESENT)),
            workers.c.lease_until > at,
        )
        .with_for_update(read=True, of=workers)
        .cte("here")
    )
    return (
        sa.update(tasks)
        .where(
            tasks.c.id == claims.c.key,
            tasks.c.attempt == sa.cast(claims.c.value, sa.Integer) - 1,
            tasks.c.worker_id == sa.bindparam("worker"),
            states(TaskState.QUEUED),
            sa.exists(sa.select(here)),
        )
        .values(state=TaskState.RUNNING, attempt=tasks.c.attempt + 1, started_at=at, updated_at=at)
        .returning(*COLUMNS)
    )
