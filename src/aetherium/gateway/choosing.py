"""Which tasks a request means: those that it lists, or those that it changes in bulk."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from aetherium.domain.errors import InvalidInput
from aetherium.domain.ids import WORKER, is_id
from aetherium.domain.tasks import Priority, TaskState
from aetherium.gateway.access import Platform
from aetherium.interfaces.task_store import TaskFilter
from aetherium.services.tasks import MOST_AT_ONCE


@dataclass(frozen=True, slots=True)
class TaskChoice:
    """Which tasks: all of what is given has to fit. `all`: no matter which, if nothing else is given."""

    ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    group: str = ""
    error_code: str = ""
    project: str = ""
    all: bool = False
    reason: str = ""


async def listed(
    platform: Platform,
    *,
    states: Collection[TaskState] = (),
    types: Collection[str] = (),
    group: str = "",
    priority: Priority | None = None,
    worker: str = "",
    error_code: str = "",
    project: str = "",
) -> TaskFilter:
    """The filter of a list. Raises NotFound (worker, project)."""
    where = TaskFilter()
    if states:
        where["states"] = set(states)
    if types:
        where["types"] = set(types)
    if group:
        where["group"] = group
    if priority is not None:
        where["priority"] = priority
    if worker:
        # By its id also one that was forgotten.
        known = is_id(worker, WORKER)
        where["worker_id"] = worker if known else (await platform.workers.get(worker)).worker.id
    if error_code:
        where["error_code"] = error_code
    if project:
        where["project_id"] = await platform.projects.id_of(project)
    return where


async def chosen(choice: TaskChoice, platform: Platform) -> TaskFilter:
    """The filter of a change in bulk. Raises InvalidInput for one that would mean all without saying so."""
    if len(choice.ids) > MOST_AT_ONCE:
        raise InvalidInput(
            f"{len(choice.ids)} ids were given.", hint=f"Give at most {MOST_AT_ONCE}.", field="ids"
        )
    where = await listed(
        platform,
        types=choice.types,
        group=choice.group,
        error_code=choice.error_code,
        project=choice.project,
    )
    if choice.ids:
        where["ids"] = set(choice.ids)
    if bool(where) == choice.all:
        raise InvalidInput(
            "It is not clear which tasks are meant.",
            hint="Give ids, types, group, error_code or project; or else all.",
            field="all",
        )
    return where
