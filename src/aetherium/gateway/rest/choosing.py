"""Which tasks the query of a list means; see gateway/choosing.py."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from aetherium.domain.tasks import TaskState
from aetherium.gateway.choosing import listed
from aetherium.gateway.platform import PlatformDep
from aetherium.interfaces.task_store import TaskFilter

States = Annotated[list[TaskState] | None, Query(description="Only tasks in these states.")]


async def _where(
    platform: PlatformDep,
    type: Annotated[list[str] | None, Query(description="Only tasks of these types.")] = None,  # noqa: A002 - the name of the parameter
    group: Annotated[str, Query(description="Only tasks of this group.")] = "",
    worker: Annotated[str, Query(description="Only tasks that are or were placed on this worker.")] = "",
    error_code: Annotated[str, Query(description="Only tasks that failed so.")] = "",
    project: Annotated[str, Query(description="Only tasks of this project.")] = "",
) -> TaskFilter:
    return await listed(
        platform, types=type or (), group=group, worker=worker, error_code=error_code, project=project
    )


Where = Annotated[TaskFilter, Depends(_where)]
