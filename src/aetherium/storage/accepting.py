"""Accepting tasks: idempotency keys, unique tasks, tasks that wait for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import AlreadyExists, NotFound
from aetherium.domain.tasks import Task, TaskState
from aetherium.interfaces.task_store import NewTask
from aetherium.storage.database import Database, now
from aetherium.storage.ending import DEPENDENCY, announce
from aetherium.storage.tables import dependencies, tasks
from aetherium.storage.taskrows import COLUMNS, new_row, to_task

_MICROSECOND = timedelta(microseconds=1)
# What is the time of acceptance in the row of a plain task.
_NOW = ("created_at", "updated_at", "ready_at")
_UNKNOWN = datetime.min.replace(tzinfo=UTC)
_INSERT_TASKS = sa.insert(tasks)


async def accept(connection: AsyncConnection, database: Database, given: Sequence[NewTask]) -> Sequence[Task]:
    """See TaskRepository. Raises IntegrityError when another transaction was faster with the same key."""
    known = await _known(connection, given)
    first: dict[tuple[str, str], NewTask] = {}
    for new in given:
        if _key(new) not in known:
            first.setdefault(_key(new), new)
    fresh = list(first.values())
    at = await now(connection, database)
    await _check_unique(connection, fresh, at)
    # One microsecond apart: they start in the order given.
    rows = {new.id: new_row(new, at + place * _MICROSECOND) for place, new in enumerate(fresh)}
    links = await _block(connection, fresh, rows)
    for new in fresh:
        if new.spec.unique_s:
            rows[new.id]["unique_until"] = at + timedelta(seconds=new.spec.unique_s)
    if rows:
        await connection.execute(_INSERT_TASKS, list(rows.values()))
    if links:
        await connection.execute(sa.insert(dependencies), links)
    made = {key: to_task(rows[new.id]) for key, new in first.items()}
    await announce(connection, [task for task in made.values() if task.state is TaskState.DEAD], at)
    return [known[key] if (key := _key(new)) in known else made[key] for new in given]


def is_plain(new: NewTask) -> bool:
    """Whether all that is to be done is to write a row."""
    spec = new.spec
    return new.worker_id is None and spec.run_at is None and not spec.after and not spec.unique_key


def plainly(database: Database) -> sa.Executable:
    """Write the row of a plain task, which begins to wait now: gives the time. Gives nothing if there is one
    with its key, or its id. One statement, where `accept` needs four: this is how most tasks come."""
    moments = dict.fromkeys(_NOW, database.moment())
    return database.insert(tasks).values(moments).on_conflict_do_nothing().returning(tasks.c.created_at)  # type: ignore[no-any-return]


async def accept_plainly(connection: AsyncConnection, statement: sa.Executable, new: NewTask) -> Task | None:
    """The task, by the statement of `plainly`; None if there was one already."""
    row = {name: value for name, value in new_row(new, _UNKNOWN).items() if name not in _NOW}
    at = await connection.scalar(statement, row)
    return None if at is None else to_task(row | dict.fromkeys(_NOW, at))


def _key(new: NewTask) -> tuple[str, str]:
    return (new.project_id, new.idempotency_key) if new.idempotency_key else ("", new.id)


async def _known(connection: AsyncConnection, given: Sequence[NewTask]) -> Mapping[tuple[str, str], Task]:
    """What was accepted before with the same keys."""
    keys = [_key(new) for new in given if new.idempotency_key]
    if not keys:
        return {}
    query = sa.select(*COLUMNS).where(
        sa.tuple_(tasks.c.project_id, tasks.c.idempotency_key).in_(keys),
        sa.text("idempotency_key IS NOT NULL"),
    )
    rows = (await connection.execute(query)).mappings()
    return {(row["project_id"], row["idempotency_key"]): to_task(row) for row in rows}


async def _check_unique(connection: AsyncConnection, fresh: Sequence[NewTask], at: datetime) -> None:
    keys: set[tuple[str, str]] = set()
    for new in fresh:
        if (key := (new.project_id, new.spec.unique_key)) in keys:
            raise refused(new.spec.unique_key, "")
        if new.spec.unique_key:
            keys.add(key)
    if not keys:
        return
    query = (
        sa.select(tasks.c.id, tasks.c.unique_key, tasks.c.ended_at, tasks.c.unique_until)
        .where(sa.tuple_(tasks.c.project_id, tasks.c.unique_key).in_(keys), sa.text("unique_key IS NOT NULL"))
        .with_for_update()
    )
    over = []
    for row in (await connection.execute(query)).mappings():
        until = row["unique_until"]
        if row["ended_at"] is None or (until is not None and until > at):
            raise refused(row["unique_key"], row["id"])
        over.append(row["id"])
    if over:
        await connection.execute(sa.update(tasks).where(tasks.c.id.in_(over)).values(unique_key=None))


def refused(key: str, task_id: str) -> AlreadyExists:
    """The error for a second task with a unique key."""
    return AlreadyExists(
        f"There is a task with the unique key {key!r} already{f': {task_id}' if task_id else ''}.",
        hint="Wait for its end, or for the end of its time window.",
        kind="task",
        unique_key=key,
        task_id=task_id,
    )


async def _block(
    connection: AsyncConnection, fresh: Sequence[NewTask], rows: Mapping[str, dict[str, Any]]
) -> list[dict[str, str]]:
    """Let tasks wait for those that they name; the rows of `dependencies`."""
    wanted = {after for new in fresh for after in new.spec.after}
    if not wanted:
        return []
    query = (
        sa.select(tasks.c.id, tasks.c.project_id, tasks.c.state, tasks.c.ok)
        .where(tasks.c.id.in_(wanted - rows.keys()))
        .with_for_update(read=True)  # so that none of them ends unnoticed meanwhile
    )
    found: dict[str, Mapping[Any, Any]] = {
        row["id"]: row for row in (await connection.execute(query)).mappings()
    }
    links = []
    for new in fresh:
        for after in dict.fromkeys(new.spec.after):
            if after not in found or found[after]["project_id"] != new.project_id:
                raise NotFound("task", after, hint="A task can wait for those that were accepted before it.")
            _wait_for(rows[new.id], found[after])
            links.append({"task_id": new.id, "after_id": after})
        found[new.id] = rows[new.id]
    return links


def _wait_for(row: dict[str, Any], other: Mapping[Any, Any]) -> None:
    if other["state"] == TaskState.SUCCEEDED and other["ok"]:
        return
    if row["state"] == TaskState.DEAD:
        return
    if other["state"] in (
        TaskState.SUCCEEDED,
        TaskState.DEAD,
        TaskState.CANCELLED,
        TaskState.DISCARDED,
    ):
        row |= {
            "state": TaskState.DEAD,
            "ended_at": row["created_at"],
            "ok": False,
            "error_code": DEPENDENCY,
            "error": "A task that it waits for did not succeed.",
            "unique_key": None,
        }
        return
    row["state"] = TaskState.BLOCKED
    row["ready_at"] = None
    row["blockers"] += 1
    row["reason"] = "It waits for other tasks."
