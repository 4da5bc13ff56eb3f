"""What the database of a cluster under test says, read without any of the code under test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """Times are microseconds, by the database's clock."""

    task_id: str
    number: int
    worker_id: str
    started_at: int
    ended_at: int | None
    error_code: str


@dataclass(frozen=True, slots=True)
class TaskRow:
    """`attempts` by number; `finals`: how many events say that it has ended."""

    id: str
    type: str
    state: str
    idempotency_key: str | None
    attempt: int
    ended_at: int | None
    vcpus: int
    memory_mib: int
    error_code: str
    error: str
    attempts: Sequence[AttemptRow]
    finals: int


class Rows:
    """An asynchronous context manager."""

    def __init__(self, url: str) -> None:
        self._engine = create_async_engine(url, pool_pre_ping=True, pool_size=2)

    async def __aenter__(self) -> Rows:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._engine.dispose()

    async def leader(self) -> str:
        """Who leads by a lease that holds; empty: nobody."""
        found = await self.read(_LEADER)
        return str(found[0][0]) if found else ""

    async def newest(self) -> int:
        """When the newest task was accepted."""
        return int((await self.read("SELECT coalesce(max(created_at), 0) FROM tasks"))[0][0])

    async def open(self) -> int:
        """Tasks that have not ended, and events that are not in the log yet."""
        tasks, events = (await self.read(_OPEN))[0]
        return int(tasks + events)

    async def tasks(self, since: int) -> Sequence[TaskRow]:
        """Those that were accepted after that time."""
        attempts: dict[str, list[AttemptRow]] = {}
        for row in await self.read(_ATTEMPTS):
            attempts.setdefault(row[0], []).append(AttemptRow(*row))
        finals = {row[0]: row[1] for row in await self.read(_FINALS)}
        found = await self.read(_TASKS, since=since)
        return [
            TaskRow(**row._mapping, attempts=attempts.get(row.id, ()), finals=finals.get(row.id, 0))
            for row in found
        ]

    async def vms(self) -> Sequence[str]:
        """All VMs, one line each, for people."""
        return [str(row) for row in await self.read("SELECT id, state, owner, reason, spec FROM vms")]

    async def read(self, query: str, **values: object) -> Sequence[Any]:
        """The rows of one query."""
        async with self._engine.connect() as connection:
            return (await connection.execute(sa.text(query), values)).all()


_LEADER = "SELECT holder FROM leaders WHERE lease_until > extract(epoch FROM clock_timestamp()) * 1000000"
_OPEN = "SELECT (SELECT count(*) FROM tasks WHERE ended_at IS NULL), (SELECT count(*) FROM outbox)"
_ATTEMPTS = (
    "SELECT task_id, number, worker_id, started_at, ended_at, error_code FROM attempts ORDER BY number"
)
_FINALS = """
    SELECT subject, count(*) FROM events WHERE type IN ('task.succeeded', 'task.dead', 'task.cancelled')
    GROUP BY subject
"""
_TASKS = """
    SELECT id, type, state, idempotency_key, attempt, ended_at, vcpus, memory_mib, error_code, error
    FROM tasks WHERE created_at > :since ORDER BY created_at
"""
