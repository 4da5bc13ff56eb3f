"""The ExecutionRepository in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from aetherium.domain.errors import NotFound
from aetherium.domain.executions import (
    EXECUTION_LIFECYCLE,
    Execution,
    ExecutionResult,
    ExecutionSpec,
    ExecutionState,
)
from aetherium.interfaces.store import ExecutionRepository
from aetherium.storage.codec import dump, load
from aetherium.storage.database import Database
from aetherium.storage.scope import EVERYTHING, Scope, seen, seen_of_vms
from aetherium.storage.tables import executions, vms


class SqlExecutions:
    """See interfaces/store.py."""

    def __init__(self, database: Database, scope: Scope = EVERYTHING) -> None:
        self._database = database
        self._seen = seen_of_vms(executions, scope)
        self._vm_seen = seen(vms, scope)
        self._one = sa.select(executions).where(executions.c.id == sa.bindparam("execution"), self._seen)

    async def save(self, records: Sequence[Execution]) -> None:
        wanted = {record.vm_id for record in records}
        living = (
            sa.select(vms.c.id)
            .where(vms.c.id.in_(wanted), self._vm_seen)
            .with_for_update(key_share=True, read=True)
        )

        async def work(connection: AsyncConnection) -> None:
            # Shared locks: a VM that is removed meanwhile takes these executions along.
            there = set(await connection.scalars(living))
            for state in ExecutionState:
                rows = [_values(each) for each in records if each.state is state and each.vm_id in there]
                if rows:
                    await connection.execute(_upsert(self._database, state), rows)

        if records:
            await self._database.write(work)

    async def get(self, execution_id: str) -> Execution:
        async def work(connection: AsyncConnection) -> Execution:
            row = (await connection.execute(self._one, {"execution": execution_id})).mappings().first()
            if row is None:
                raise NotFound("execution", execution_id)
            return _execution(row)

        return await self._database.read(work)

    async def list(self, vm_id: str, *, unfinished: bool = False) -> Sequence[Execution]:
        query = sa.select(executions).where(executions.c.vm_id == vm_id, self._seen)
        if unfinished:
            query = query.where(executions.c.ended_at.is_(None))
        query = query.order_by(executions.c.created_at.desc(), executions.c.id.desc())

        async def work(connection: AsyncConnection) -> Sequence[Execution]:
            return [_execution(row) for row in (await connection.execute(query)).mappings()]

        return await self._database.read(work)

    async def busy(self) -> Mapping[str, int]:
        query = (
            sa.select(executions.c.vm_id, sa.func.count())
            .where(executions.c.ended_at.is_(None), self._seen)
            .group_by(executions.c.vm_id)
        )

        async def work(connection: AsyncConnection) -> Mapping[str, int]:
            return {row[0]: row[1] for row in await connection.execute(query)}

        return await self._database.read(work)

    async def lose(self, vm_id: str, at: datetime) -> int:
        change = (
            sa.update(executions)
            .where(executions.c.vm_id == vm_id, executions.c.ended_at.is_(None), self._seen)
            .values(state=ExecutionState.LOST, ended_at=at)
        )
        return (await self._database.write(lambda c: c.execute(change))).rowcount


def _upsert(database: Database, state: ExecutionState) -> Any:
    """Insert, or update a row from which the lifecycle allows `state`, or which has it and goes on."""
    statement = database.insert(executions)
    guard = set(EXECUTION_LIFECYCLE.before(state))
    if not EXECUTION_LIFECYCLE.is_final(state):
        guard.add(state)
    columns = ("state", "started_at", "ended_at", "result")
    return statement.on_conflict_do_update(
        index_elements=[executions.c.id],
        set_={name: statement.excluded[name] for name in columns},
        # Not IN, which SQLAlchemy cannot expand for many rows at once.
        where=sa.or_(*(executions.c.state == each for each in sorted(guard))),
    )


def _execution(row: Mapping[Any, Any]) -> Execution:
    return Execution(
        id=row["id"],
        vm_id=row["vm_id"],
        spec=load(ExecutionSpec, row["spec"]),
        state=ExecutionState(row["state"]),
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        result=None if row["result"] is None else load(ExecutionResult, row["result"]),
        secret_names=tuple(row["secret_names"]),
    )


def _values(execution: Execution) -> dict[str, Any]:
    return {
        "id": execution.id,
        "vm_id": execution.vm_id,
        "state": execution.state,
        "created_at": execution.created_at,
        "started_at": execution.started_at,
        "ended_at": execution.ended_at,
        "spec": dump(execution.spec),
        "result": None if execution.result is None else dump(execution.result),
        "secret_names": list(execution.secret_names),
    }


_: type[ExecutionRepository] = SqlExecutions
