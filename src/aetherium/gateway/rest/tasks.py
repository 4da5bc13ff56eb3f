"""``/v1/tasks``: submit, list, get, attempts, cancel, and the types there are."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

from fastapi import Query
from pydantic import TypeAdapter
from starlette.responses import JSONResponse, Response

from aetherium.domain.task_types import TaskTypeInfo
from aetherium.domain.tasks import Attempt, Priority, Task
from aetherium.gateway import wire
from aetherium.gateway.choosing import chosen
from aetherium.gateway.describing import errors
from aetherium.gateway.lists import ByTime, Labels
from aetherium.gateway.platform import DrainDep, PlatformDep
from aetherium.gateway.rest import answers, bodies
from aetherium.gateway.rest.choosing import States, Where
from aetherium.gateway.rest.part import Part
from aetherium.gateway.streams import awaited
from aetherium.interfaces.handlers import TaskType

router = Part(prefix="/tasks", tags=["tasks"])


@router.post("", status_code=201, response_model=Task, responses=errors("already_exists", "limit_exceeded"))
async def submit(body: bodies.TaskBody, platform: PlatformDep, key: bodies.Key = "") -> Response:
    """Submit a task; it is durable when the answer comes."""
    project = await platform.projects.id_of(body.project)
    return wire.reply(await platform.tasks.submit(body.spec, project=project, idempotency_key=key), 201)


@router.post(
    "/batch", status_code=201, response_model=list[Task], responses=errors("already_exists", "limit_exceeded")
)
async def submit_many(body: bodies.TaskBatchBody, platform: PlatformDep, key: bodies.Key = "") -> Response:
    """Submit up to 1000 tasks, all or none; answers them in their order."""
    project = await platform.projects.id_of(body.project)
    keys = [f"{key}#{index}" for index in range(len(body.specs))] if key else ()
    found = await platform.tasks.submit_many(body.specs, project=project, idempotency_keys=keys)
    return JSONResponse(wire.dump(list(found)), status_code=201)


@router.get("", response_model=answers.Page[Task])
async def index(
    platform: PlatformDep,
    where: Where,
    listing: ByTime,
    labels: Labels,
    state: States = None,
    priority: Annotated[Priority | None, Query(description="Only tasks of this priority.")] = None,
) -> Response:
    """Tasks, newest first."""
    if state:
        where["states"] = set(state)
    if priority is not None:
        where["priority"] = priority
    listing.narrow(where, labels)
    found = await platform.tasks.list(
        limit=listing.limit + 1, before=listing.before, oldest_first=listing.oldest_first, **where
    )
    return listing.reply(listing.fetched(found))


@router.get("/types", response_model=list[TaskTypeInfo])
async def types(platform: PlatformDep) -> Response:
    """The types there are, with a JSON Schema of their payloads."""
    return JSONResponse([wire.dump(_info(kind)) for kind in platform.tasks.types.all()])


@router.post("/cancel", response_model=answers.Changed)
async def cancel_many(body: bodies.TaskChoiceBody, platform: PlatformDep) -> Response:
    """Cancel all tasks that fit and have not ended; answers how many were changed."""
    where = await chosen(body, platform)
    return JSONResponse({"changed": await platform.tasks.cancel_many(reason=body.reason, **where)})


@router.get("/{ref}", response_model=Task)
async def get(
    ref: str,
    platform: PlatformDep,
    drain: DrainDep,
    wait: bodies.Wait = False,
    timeout_s: Annotated[float | None, Query(ge=0, description="With `wait`: no longer than this.")] = None,
) -> Response:
    """One task; with `wait` the answer comes at its end, or after `timeout_s` with the task as it is then."""

    async def ended() -> bytes:
        return wire.dump_json(await platform.tasks.wait(ref, timeout_s=timeout_s))

    return awaited(ended, drain) if wait else wire.reply(await platform.tasks.get(ref))


@router.get("/{ref}/attempts", response_model=list[Attempt])
async def attempts(ref: str, platform: PlatformDep) -> Response:
    """All attempts at it, with their errors."""
    return JSONResponse(wire.dump(list(await platform.tasks.attempts(ref))))


@router.post("/{ref}/cancel", response_model=Task)
async def cancel(ref: str, platform: PlatformDep, body: bodies.TaskCancelBody = None) -> Response:
    """Cancel what waits at once, and what runs soon; of a task that has ended nothing changes."""
    reason = (body or bodies.TaskCancel()).reason
    return wire.reply(await platform.tasks.cancel(ref, reason=reason))


def _info(kind: TaskType) -> TaskTypeInfo:
    payload: Any = kind.payload
    return TaskTypeInfo(kind.name, kind.summary, kind.public, kind.timeout_s, kind.retry, _schema(payload))


@cache
def _schema(payload: Any) -> dict[str, Any]:
    return TypeAdapter(payload).json_schema()
