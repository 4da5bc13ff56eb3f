"""What is done to many tasks at once, chosen by a filter: page by page, however many there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Unpack

from aetherium.domain.tasks import ACTIVE, WAITING, TaskState
from aetherium.interfaces.task_store import TaskFilter
from aetherium.services.tasks import MOST_AT_ONCE, TaskService


async def cancel(tasks: TaskService, *, reason: str = "", **where: Unpack[TaskFilter]) -> int:
    """Cancel those that have not ended; how many were changed."""
    where["states"] = WAITING | ACTIVE
    return sum([len(await tasks.cancel_all(ids, reason=reason)) async for ids in _pages(tasks, where)])


async def requeue(tasks: TaskService, **where: Unpack[TaskFilter]) -> int:
    """Try the dead ones anew; how many were changed."""
    where["states"] = {TaskState.DEAD}
    return sum([len(await tasks.requeue_all(ids)) async for ids in _pages(tasks, where)])


async def discard(tasks: TaskService, **where: Unpack[TaskFilter]) -> int:
    """Put the dead ones aside; how many were changed."""
    where["states"] = {TaskState.DEAD}
    return sum([len(await tasks.discard_all(ids)) async for ids in _pages(tasks, where)])


async def _pages(tasks: TaskService, where: TaskFilter) -> AsyncIterator[Sequence[str]]:
    """The ids from the newest down: what dies meanwhile, and what dies again, is not done twice."""
    before = ""
    while found := await tasks.list(limit=MOST_AT_ONCE, before=before, **where):
        yield [task.id for task in found]
        before = found[-1].id
