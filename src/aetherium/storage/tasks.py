"""The TaskRepository in SQL."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar, Unpack

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import AlreadyExists, NotFound
from aetherium.domain.tasks import ACTIVE, Attempt, Task, TaskState
from aetherium.interfaces.task_store import (
    Lane,
    LeaderEpoch,
    Load,
    NewTask,
    Outcome,
    Placement,
    TaskFilter,
    TaskRepository,
)
from aetherium.storage import accepting, dispatching, leaders
from aetherium.storage.database import Database, now
from aetherium.storage.ending import Values, end_attempts, give_up, settle
from aetherium.storage.finding import find_id
from aetherium.storage.jobs import reopen
from aetherium.storage.listing import created, in_order, labelled
from aetherium.storage.scope import EVERYTHING, Scope, seen
from aetherium.storage.tables import GONE, HELD, READY, UtcTime, attempts, tasks
from aetherium.storage.taskrows import COLUMNS, states, to_task

T = TypeVar("T")

# Made once: SQLAlchemy takes longer to recognise a statement than SQLite to carry it out.
_ONE = sa.select(*COLUMNS).where(tasks.c.id == sa.bindparam("task"))
_INSERT_ATTEMPTS = sa.insert(attempts)


class SqlTasks:
    """See interfaces/store.py."""

    def __init__(self, database: Database, scope: Scope = EVERYTHING) -> None:
        self._database = database
        self._seen = seen(tasks, scope.of_project)

    async def accept(self, given: Sequence[NewTask]) -> Sequence[Task]:
        if len(given) == 1 and accepting.is_plain(given[0]):
            try:
                made = await self._database.write_one(
                    lambda c: accepting.accept_plainly(c, self._accepting, given[0])
                )
                if made is not None:
                    return [made]
            except IntegrityError:  # explained below
                pass

        async def work(connection: AsyncConnection) -> Sequence[Task]:
            return await accepting.accept(connection, self._database, given)

        try:
            return await self._database.write(work)
        except IntegrityError:
            # Somebody used the same key at the same moment; now it can be seen.
            pass
        try:
            return await self._database.write(work)
        except IntegrityError as error:
            raise AlreadyExists("There is a task with one of these ids already.", kind="task") from error

    @cached_property
    def _accepting(self) -> sa.Executable:
        return accepting.plainly(self._database)

    async def get(self, task_id: str) -> Task:
        return await self._database.read(lambda c: _get(c, task_id))

    async def find(self, ref: str) -> Task:
        async def work(connection: AsyncConnection) -> Task:
            return await _get(connection, await find_id(connection, tasks, "task", ref, among=self._seen))

        return await self._database.read(work)

    async def list(
        self, *, limit: int = 100, before: str = "", oldest_first: bool = False, **where: Unpack[TaskFilter]
    ) -> Sequence[Task]:
        chosen = sa.select(*COLUMNS).where(self._seen, *_conditions(where))
        query = in_order(chosen, tasks.c.id, before, oldest_first=oldest_first).limit(limit)

        async def work(connection: AsyncConnection) -> Sequence[Task]:
            return [to_task(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)

    async def count(self, **where: Unpack[TaskFilter]) -> Mapping[TaskState, int]:
        query = (
            sa.select(tasks.c.state, sa.func.count())
            .where(self._seen, *_conditions(where))
            .group_by(tasks.c.state)
        )

        async def work(connection: AsyncConnection) -> Mapping[TaskState, int]:
            return {TaskState(row[0]): row[1] for row in await connection.execute(query)}

        return await self._database.read(work)

    async def recent(self, project_id: str, seconds: float) -> int:
        query = sa.select(sa.func.count()).where(
            tasks.c.project_id == project_id, tasks.c.created_at > self._database.moment(-seconds)
        )
        return await self._database.read(lambda c: c.scalar(query)) or 0

    async def attempts(self, task_id: str) -> Sequence[Attempt]:
        query = sa.select(attempts).where(attempts.c.task_id == task_id).order_by(attempts.c.number)
        names = ("number", "started_at", "ended_at", "worker_id", "error_code", "error")

        async def work(connection: AsyncConnection) -> Sequence[Attempt]:
            rows = (await connection.execute(query)).mappings()
            return [Attempt(**{name: row[name] for name in names}) for row in rows]

        return await self._database.read(work)

    async def sealed(self, task_id: str) -> bytes:
        query = sa.select(tasks.c.sealed).where(tasks.c.id == task_id)
        return await self._database.read(lambda c: c.scalar(query)) or b""

    async def lanes(self, *, without_types: Collection[str] = (), limit: int = 1000) -> Sequence[Lane]:
        return await self._database.read(
            lambda c: dispatching.lanes(c, without_types=without_types, limit=limit)
        )

    async def waiting(self, wanted: Sequence[Lane], *, limit: int) -> Sequence[Task]:
        return await self._database.read(lambda c: dispatching.waiting(c, wanted, limit))

    async def place(self, placements: Sequence[Placement], epoch: LeaderEpoch) -> Collection[str]:
        goes = json.dumps({each.task_id: each.worker_id for each in placements})
        values = {"given": goes, **leaders.naming(epoch)}

        async def work(connection: AsyncConnection) -> Collection[str]:
            return set(await connection.scalars(self._placing, values))

        placed = await self._database.write_one(work)
        if not placements or len(placed) < len(placements):
            await self._database.read(lambda c: leaders.require(c, epoch))
        return placed

    @cached_property
    def _placing(self) -> sa.Executable:
        return dispatching.placing(self._database)

    async def explain(self, reasons: Mapping[str, str], *, park: bool) -> None:
        change = (
            sa.update(tasks)
            .where(tasks.c.id == sa.bindparam("row"), sa.text(READY))
            .values(reason=sa.bindparam("why"), parked=int(park))
        )
        rows = [{"row": task_id, "why": reason} for task_id, reason in sorted(reasons.items())]
        if rows:
            await self._database.write(lambda c: c.execute(change, rows))

    async def unpark(self) -> int:
        change = sa.update(tasks).where(states(TaskState.QUEUED), tasks.c.parked == 1).values(parked=0)
        return (await self._database.write(lambda c: c.execute(change))).rowcount

    async def unclaimed(self, older_than_s: float, *, limit: int = 500) -> Sequence[Task]:
        return await self._write(dispatching.unclaimed, older_than_s, limit)

    async def release_due(self, *, limit: int = 1000) -> int:
        return await self._write(dispatching.release_due, limit)

    async def end_overdue(self, *, limit: int = 500) -> Sequence[Task]:
        return await self._write(dispatching.end_overdue, limit)

    async def give_up(self, ids: Collection[str], *, error_code: str, error: str) -> Sequence[Task]:
        async def work(connection: AsyncConnection) -> Sequence[Task]:
            return await give_up(
                connection, self._database, tasks.c.id.in_(ids), error_code=error_code, error=error
            )

        return await self._database.write(work)

    async def load(self) -> Load:
        return await self._database.read(dispatching.load)

    async def claim(
        self, claims: Sequence[tuple[str, int]], worker_id: str, incarnation: int
    ) -> Sequence[Task]:
        values = {
            # Of several tickets for one task only the last can be good: attempts are counted upwards.
            "claims": json.dumps(dict(sorted(claims))),
            "worker": worker_id,
            "incarnation": incarnation,
        }

        async def work(connection: AsyncConnection) -> Sequence[Task]:
            begun = [to_task(row) for row in (await connection.execute(self._claiming, values)).mappings()]
            if begun:
                await connection.execute(_INSERT_ATTEMPTS, [_attempt_row(task, worker_id) for task in begun])
            return begun

        return await self._database.write(work)

    @cached_property
    def _claiming(self) -> sa.Executable:
        return dispatching.claiming(self._database)

    async def finish(self, outcomes: Sequence[Outcome]) -> Sequence[Task]:
        return await self._write(end_attempts, outcomes)

    async def held(self, worker_id: str) -> Sequence[tuple[str, int, TaskState]]:
        query = sa.select(tasks.c.id, tasks.c.attempt, tasks.c.state).where(
            tasks.c.worker_id == worker_id, sa.text(HELD), states(*ACTIVE)
        )

        async def work(connection: AsyncConnection) -> Sequence[tuple[str, int, TaskState]]:
            return [(row[0], row[1], TaskState(row[2])) for row in await connection.execute(query)]

        return await self._database.read(work)

    async def cancel(self, ids: Collection[str], *, reason: str = "") -> Sequence[Task]:
        async def work(connection: AsyncConnection) -> Sequence[Task]:
            which = tasks.c.id.in_(ids)
            waited = await give_up(connection, self._database, which, state=TaskState.CANCELLED, error=reason)
            change = (
                sa.update(tasks)
                .where(which, states(TaskState.RUNNING))
                .values(state=TaskState.CANCELLING, error=reason, updated_at=self._database.moment())
                .returning(*COLUMNS)
            )
            running = [to_task(row) for row in (await connection.execute(change)).mappings()]
            return [*waited, *running]

        return await self._database.write(work)

    async def requeue(self, ids: Collection[str]) -> Sequence[Task]:
        async def work(connection: AsyncConnection) -> Sequence[Task]:
            at = await now(connection, self._database)
            change = (
                sa.update(tasks)
                .where(tasks.c.id.in_(ids), states(TaskState.DEAD))
                .values(
                    state=TaskState.QUEUED,
                    failures=0,
                    ended_at=None,
                    ready_at=at,
                    deadline=None,
                    placed_at=None,
                    worker_id=None,
                    parked=0,
                    ok=None,
                    result=None,
                    error_code="",
                    error="",
                    updated_at=at,
                )
                .returning(*COLUMNS)
            )
            found = [to_task(row) for row in (await connection.execute(change)).mappings()]
            await reopen(connection, [task.id for task in found], ended=True)
            return found

        return await self._database.write(work)

    async def discard(self, ids: Collection[str]) -> Sequence[Task]:
        async def work(connection: AsyncConnection) -> Sequence[Task]:
            query = sa.select(*COLUMNS).where(tasks.c.id.in_(ids), states(TaskState.DEAD)).with_for_update()
            rows = (await connection.execute(query)).mappings().all()
            at = await now(connection, self._database)
            changes: list[Values] = [{"state": TaskState.DISCARDED, "sealed": None} for _ in rows]
            return await settle(connection, rows, changes, at) if rows else ()

        return await self._database.write(work)

    async def purge(self, keep_s: float, *, limit: int = 1000) -> Sequence[str]:
        moment = self._database.moment
        kept_until = sa.type_coerce(tasks.c.ended_at, sa.BigInteger) + sa.cast(
            tasks.c.keep_s * 1_000_000, sa.BigInteger
        )
        over = sa.case(
            (tasks.c.keep_s.is_(None), tasks.c.ended_at <= moment(-keep_s)),
            else_=sa.type_coerce(kept_until, UtcTime) <= moment(),
        )
        old = sa.select(tasks.c.id).where(sa.text(GONE), over).order_by(tasks.c.ended_at).limit(limit)
        change = sa.delete(tasks).where(tasks.c.id.in_(old)).returning(tasks.c.id)

        async def work(connection: AsyncConnection) -> Sequence[str]:
            return list(await connection.scalars(change))

        return await self._database.write(work)

    async def _write(self, work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        return await self._database.write(lambda c: work(c, self._database, *arguments))


async def _get(connection: AsyncConnection, task_id: str) -> Task:
    row = (await connection.execute(_ONE, {"task": task_id})).mappings().first()
    if row is None:
        raise NotFound("task", task_id)
    return to_task(row)


def _conditions(where: TaskFilter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if "ids" in where:
        found.append(tasks.c.id.in_(sorted(where["ids"])))
    for name, column in (("states", tasks.c.state), ("types", tasks.c.type)):
        if values := where.get(name):
            found.append(column.in_(sorted(values)))  # type: ignore[call-overload]  # a key of a TypedDict
    for name, column in (
        ("project_id", tasks.c.project_id),
        ("group", tasks.c.task_group),
        ("worker_id", tasks.c.worker_id),
        ("error_code", tasks.c.error_code),
        ("schedule_id", tasks.c.schedule_id),
    ):
        if value := where.get(name):
            found.append(column == value)
    if priority := where.get("priority"):
        found.append(tasks.c.rank == priority.rank)
    found += created(tasks, where.get("created_after"), where.get("created_before"))
    found += labelled(tasks.c.spec, ("labels",), where.get("labels", {}))
    return found


def _attempt_row(task: Task, worker_id: str) -> dict[str, Any]:
    return {
        "task_id": task.id,
        "number": task.attempt,
        "started_at": task.started_at,
        "ended_at": None,
        "worker_id": worker_id,
        "error_code": "",
        "error": "",
    }


_: type[TaskRepository] = SqlTasks
