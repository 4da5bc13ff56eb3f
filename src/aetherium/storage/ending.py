"""The ends of attempts and tasks, and what follows: retries, tasks that wait for them, events."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.events import Event
from aetherium.domain.ids import EVENT, new_id
from aetherium.domain.tasks import ACTIVE, ENDED, WAITING, Task, TaskSpec, TaskState
from aetherium.interfaces.task_store import Outcome
from aetherium.storage import events, jobs
from aetherium.storage.codec import load
from aetherium.storage.database import Database, now
from aetherium.storage.tables import attempts, dependencies, tasks, workers
from aetherium.storage.taskrows import COLUMNS, states, to_task

DEADLINE = "deadline_exceeded"
WORKER_LOST = "worker_lost"
DEPENDENCY = "dependency_failed"
JOB_TYPE = "job.run"

Row = Mapping[Any, Any]
Values = dict[str, Any]


async def end_attempts(
    connection: AsyncConnection, database: Database, outcomes: Sequence[Outcome]
) -> Sequence[Task]:
    """End those attempts that are still the present ones; their tasks as they are now."""
    given = {outcome.task_id: outcome for outcome in outcomes}
    rows = [
        row
        for row in (await connection.execute(_RUNNING, {"ids": list(given)})).mappings().all()
        if row["attempt"] == given[row["id"]].attempt
    ]
    if not rows:
        return ()
    at = await now(connection, database)
    changes = [decide(row, given[row["id"]], at) for row in rows]
    await _end_attempt_rows(connection, rows, given, at)
    return await settle(connection, rows, changes, at)


def decide(row: Row, outcome: Outcome, at: datetime) -> Values:
    """What becomes of a running task whose attempt ended so."""
    if row["state"] == TaskState.CANCELLING and outcome.state is not TaskState.SUCCEEDED:
        if row["error_code"] == DEADLINE:
            return ended(row, TaskState.DEAD, at, error_code=DEADLINE, error=row["error"])
        return ended(row, TaskState.CANCELLED, at, error=row["error"])
    if outcome.state is TaskState.QUEUED:
        return {**_waiting(at), "failures": row["failures"]}
    if outcome.state is not TaskState.SCHEDULED:
        return ended(
            row,
            outcome.state,
            at,
            result=outcome.result,
            ok=outcome.ok if outcome.state is TaskState.SUCCEEDED else False,
            error_code=outcome.error_code,
            error=outcome.error,
        )
    failed = {
        "failures": row["failures"] + 1,
        "error_code": outcome.error_code,
        "error": outcome.error,
    }
    if row["failures"] + 1 >= row["max_attempts"]:
        return {**ended(row, TaskState.DEAD, at), **failed}
    if outcome.delay_s <= 0:
        return {**_waiting(at), **failed}
    pause = timedelta(seconds=outcome.delay_s)
    return {**_waiting(at), **failed, "state": TaskState.SCHEDULED, "ready_at": None, "run_at": at + pause}


def ended(
    row: Row,
    state: TaskState,
    at: datetime,
    *,
    result: Mapping[str, object] | None = None,
    ok: bool = False,
    error_code: str = "",
    error: str = "",
) -> Values:
    """The values of a task that ends."""
    until = row["unique_until"]
    return {
        "state": state,
        "ended_at": at,
        "ready_at": row["ready_at"],
        "run_at": row["run_at"],
        "placed_at": row["placed_at"],
        "worker_id": row["worker_id"],
        "failures": row["failures"],
        "result": None if result is None else dict(result),
        "ok": ok,
        "error_code": error_code,
        "error": error,
        "unique_key": row["unique_key"] if until is not None and until > at else None,
        # A dead letter may be requeued, and needs its secrets then.
        **({} if state is TaskState.DEAD else {"sealed": None}),
    }


def _waiting(at: datetime) -> Values:
    return {"state": TaskState.QUEUED, "ready_at": at, "worker_id": None, "placed_at": None}


# What an update may change; what a change does not name stays.
_CHANGED = (
    "state", "ended_at", "ready_at", "run_at", "placed_at", "worker_id", "failures", "result", "ok",
    "error_code", "error", "unique_key", "sealed",
)  # fmt: skip
_KEPT_SEALED = tuple(name for name in _CHANGED if name != "sealed")


def _update(names: Iterable[str]) -> sa.Executable:
    values = {name: sa.bindparam(name, type_=tasks.c[name].type) for name in names}
    return (
        sa.update(tasks)
        .where(tasks.c.id == sa.bindparam("row"))
        .values(**values, updated_at=sa.bindparam("at"), reason="", parked=0)
    )


# Made once: SQLAlchemy takes longer to recognise a statement than a database to carry it out.
_RUNNING = (
    sa.select(*COLUMNS)
    .where(tasks.c.id.in_(sa.bindparam("ids", expanding=True)), states(*ACTIVE))
    .order_by(tasks.c.id)
    .with_for_update()
)
_UPDATES = {names: _update(names) for names in (_CHANGED, _KEPT_SEALED)}
_END_ATTEMPT = (
    sa.update(attempts)
    .where(attempts.c.task_id == sa.bindparam("task"), attempts.c.number == sa.bindparam("attempt_number"))
    .values(ended_at=sa.bindparam("at"), error_code=sa.bindparam("code"), error=sa.bindparam("text"))
)
_DEPENDENTS = sa.select(dependencies).where(dependencies.c.after_id.in_(sa.bindparam("ids", expanding=True)))


async def settle(
    connection: AsyncConnection, rows: Sequence[Row], changes: Sequence[Values], at: datetime
) -> Sequence[Task]:
    """Write changed states of locked rows, with all that follows. The tasks as they are now."""
    changed = await _write(connection, rows, changes, at)
    fallen = changed
    while fallen:  # no recursion: a task may wait for a task that waits, and so on
        fallen = await _follow(connection, fallen, at)
    return changed


async def _write(
    connection: AsyncConnection, rows: Sequence[Row], changes: Sequence[Values], at: datetime
) -> Sequence[Task]:
    for names, change in _UPDATES.items():
        batch = [
            {"row": row["id"], "at": at, **{name: new.get(name, row.get(name)) for name in names}}
            for row, new in zip(rows, changes, strict=True)
            if ("sealed" in new) == ("sealed" in names)
        ]
        if batch:
            await connection.execute(change, batch)
    return [
        to_task({**row, **new, "updated_at": at, "reason": ""})
        for row, new in zip(rows, changes, strict=True)
    ]


async def _end_attempt_rows(
    connection: AsyncConnection, rows: Sequence[Row], given: Mapping[str, Outcome], at: datetime
) -> None:
    await connection.execute(
        _END_ATTEMPT,
        [
            {
                "task": row["id"],
                "attempt_number": row["attempt"],
                "at": at,
                "code": _attempt_code(given[row["id"]]),
                "text": given[row["id"]].error,
            }
            for row in rows
        ],
    )


def _attempt_code(outcome: Outcome) -> str:
    if outcome.error_code or outcome.state is TaskState.SUCCEEDED:
        return outcome.error_code
    return "handed_back" if outcome.state is TaskState.QUEUED else str(outcome.state)


async def _follow(connection: AsyncConnection, changed: Sequence[Task], at: datetime) -> Sequence[Task]:
    """What a change of state means for jobs, for the log of events, and for tasks that wait: those of them
    that have ended by it."""
    done = [task for task in changed if task.state in ENDED]
    of_jobs = [task for task in changed if task.spec.type == JOB_TYPE]
    if of_jobs:
        await jobs.close_lost(connection, [task for task in of_jobs if task.state in ENDED])
        await jobs.reopen(connection, [task.id for task in of_jobs if task.state in WAITING])
    if not done:
        return ()
    await events.record(connection, [_event(task, at) for task in done])
    return await _free_dependents(connection, done, at)


async def announce(connection: AsyncConnection, died: Sequence[Task], at: datetime) -> None:
    """The same for tasks that were dead when they were accepted; none waits for them that is not."""
    await _follow(connection, died, at)


def _event(task: Task, at: datetime) -> Event:
    data: dict[str, object] = {"type": task.spec.type, "attempt": task.attempt}
    if task.error_code:
        data |= {"error_code": task.error_code, "error": task.error}
    return Event(new_id(EVENT), f"task.{task.state}", task.id, task.project_id, at, data)


async def _free_dependents(connection: AsyncConnection, done: Sequence[Task], at: datetime) -> Sequence[Task]:
    values = {"ids": [task.id for task in done]}
    waiting = (await connection.execute(_DEPENDENTS, values)).mappings().all()
    if not waiting:
        return ()
    good = {task.id for task in done if task.state is TaskState.SUCCEEDED and task.ok}
    doomed = {row["task_id"] for row in waiting if row["after_id"] not in good}
    freed: dict[str, int] = {}
    for row in waiting:
        if row["task_id"] not in doomed:
            freed[row["task_id"]] = freed.get(row["task_id"], 0) + 1
    await _unblock(connection, freed, at)
    if not doomed:
        return ()
    # Not those that wait no more: people have requeued them.
    rows = await _waiting_rows(connection, sa.and_(tasks.c.id.in_(doomed), states(TaskState.BLOCKED)))
    text = "A task that it waited for did not succeed."
    changes = [_given_up(row, TaskState.DEAD, at, error_code=DEPENDENCY, error=text) for row in rows]
    return await _write(connection, rows, changes, at)


async def _unblock(connection: AsyncConnection, freed: Mapping[str, int], at: datetime) -> None:
    if not freed:
        return
    await connection.execute(
        sa.update(tasks)
        .where(tasks.c.id == sa.bindparam("row"), states(TaskState.BLOCKED))
        .values(blockers=tasks.c.blockers - sa.bindparam("less", type_=sa.Integer)),
        [{"row": task_id, "less": count} for task_id, count in sorted(freed.items())],
    )
    ready = sa.update(tasks).where(tasks.c.id.in_(freed), states(TaskState.BLOCKED), tasks.c.blockers <= 0)
    later = sa.and_(tasks.c.run_at.is_not(None), tasks.c.run_at > at)
    await connection.execute(ready.where(later).values(state=TaskState.SCHEDULED, reason="", updated_at=at))
    await connection.execute(ready.values(state=TaskState.QUEUED, ready_at=at, reason="", updated_at=at))


async def give_up(
    connection: AsyncConnection,
    database: Database,
    which: sa.ColumnElement[bool],
    *,
    state: TaskState = TaskState.DEAD,
    error_code: str = "",
    error: str = "",
) -> Sequence[Task]:
    """Tasks that wait end without having run."""
    rows = await _waiting_rows(connection, which)
    if not rows:
        return ()
    at = await now(connection, database)
    changes = [_given_up(row, state, at, error_code=error_code, error=error) for row in rows]
    return await settle(connection, rows, changes, at)


async def _waiting_rows(connection: AsyncConnection, which: sa.ColumnElement[bool]) -> Sequence[Row]:
    """Locked."""
    query = sa.select(*COLUMNS).where(which, states(*WAITING)).order_by(tasks.c.id).with_for_update()
    return (await connection.execute(query)).mappings().all()


def _given_up(row: Row, state: TaskState, at: datetime, *, error_code: str, error: str) -> Values:
    return {
        **ended(row, state, at, error_code=error_code, error=error),
        "worker_id": None,
        "placed_at": None,
    }


async def lose_tasks(
    connection: AsyncConnection, database: Database, worker_ids: Collection[str]
) -> Sequence[Task]:
    """The workers are gone: attempts that they had begun have failed (`worker_lost`), and what was placed on
    them waits for another placement."""
    running = sa.select(tasks.c.id, tasks.c.attempt, tasks.c.failures, tasks.c.spec).where(
        tasks.c.worker_id.in_(worker_ids), states(*ACTIVE)
    )
    outcomes = [_lost(row) for row in (await connection.execute(running)).mappings()]
    changed = await end_attempts(connection, database, outcomes) if outcomes else ()
    private = sa.select(workers.c.id).where(workers.c.id.in_(worker_ids), workers.c.private)
    await give_up(
        connection,
        database,
        tasks.c.worker_id.in_(private),
        error_code=WORKER_LOST,
        error="The command that it belonged to has ended.",
    )
    await connection.execute(
        sa.update(tasks)
        .where(tasks.c.worker_id.in_(worker_ids), states(TaskState.QUEUED))
        .values(worker_id=None, placed_at=None)
    )
    return changed


def _lost(row: Row) -> Outcome:
    pause = random.uniform(0, load(TaskSpec, row["spec"]).retry.ceiling_s(row["failures"] + 1))  # noqa: S311
    return Outcome(
        row["id"],
        row["attempt"],
        TaskState.SCHEDULED,
        error_code=WORKER_LOST,
        error="The worker that carried it out was lost.",
        delay_s=pause,
    )
