"""Which tasks a request means: from its query, or from its body for what is done in bulk."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from aetherium.domain.errors import InvalidInput
from aetherium.domain.ids import WORKER, is_id
from aetherium.domain.tasks import TaskState
from aetherium.gateway.platform import Platform, PlatformDep
from aetherium.gateway.rest import bodies
from aetherium.interfaces.task_store import TaskFilter
from aetherium.services.tasks import MOST_AT_ONCE

States = Annotated[list[TaskState] | None, Query(description="Only tasks in these states.")]


async def _where(
    platform: PlatformDep,
    type: Annotated[list[str] | None, Query(description="Only tasks of these types.")] = None,  # noqa: A002 - the name of the parameter
    group: Annotated[str, Query(description="Only tasks of this group.")] = "",
    worker: Annotated[str, Query(description="Only tasks that are or were placed on this worker.")] = "",
    error_code: Annotated[str, Query(description="Only tasks that failed so.")] = "",
    project: Annotated[str, Query(description="Only tasks of this project.")] = "",
) -> TaskFilter:
    where = TaskFilter()
    if type:
        where["types"] = set(type)
    if group:
        where["group"] = group
    if worker:
        # By its id also one that was forgotten.
        known = is_id(worker, WORKER)
        where["worker_id"] = worker if known else (await platform.workers.get(worker)).worker.id
    if error_code:
        where["error_code"] = error_code
    if project:
        where["project_id"] = await platform.projects.id_of(project)
    return where


Where = Annotated[TaskFilter, Depends(_where)]


async def choice(body: bodies.TaskChoice, platform: Platform) -> TaskFilter:
    """The filter that a body means. Raises InvalidInput for one that would mean all without saying so."""
    if len(body.ids) > MOST_AT_ONCE:
        raise InvalidInput(
            f"{len(body.ids)} ids were given.", hint=f"Give at most {MOST_AT_ONCE}.", field="ids"
        )
    where = TaskFilter()
    if body.ids:
        where["ids"] = set(body.ids)
    if body.types:
        where["types"] = set(body.types)
    if body.group:
        where["group"] = body.group
    if body.error_code:
        where["error_code"] = body.error_code
    if body.project:
        where["project_id"] = await platform.projects.id_of(body.project)
    if bool(where) == body.all:
        raise InvalidInput(
            "It is not clear which tasks are meant.",
            hint="Give ids, types, group, error_code or project; or else all.",
            field="all",
        )
    return where
