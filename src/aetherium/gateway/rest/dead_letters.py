"""``/v1/dead-letters``: tasks that failed for good. List, get, requeue, discard; one, or all that fit."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from aetherium.domain.errors import NotFound
from aetherium.domain.tasks import Task, TaskState
from aetherium.gateway import wire
from aetherium.gateway.choosing import chosen
from aetherium.gateway.describing import errors
from aetherium.gateway.lists import ByTime, Labels
from aetherium.gateway.platform import Platform, PlatformDep
from aetherium.gateway.rest import answers, bodies
from aetherium.gateway.rest.choosing import Where
from aetherium.gateway.rest.part import Part

router = Part(prefix="/dead-letters", tags=["dead letters"])


@router.get("", response_model=answers.Page[Task])
async def index(platform: PlatformDep, where: Where, listing: ByTime, labels: Labels) -> Response:
    """Dead tasks, newest first."""
    where["states"] = {TaskState.DEAD}
    listing.narrow(where, labels)
    found = await platform.tasks.list(
        limit=listing.limit + 1, before=listing.before, oldest_first=listing.oldest_first, **where
    )
    return listing.reply(listing.fetched(found))


@router.post("/requeue", response_model=answers.Changed)
async def requeue_many(body: bodies.TaskChoiceBody, platform: PlatformDep) -> Response:
    """Try all dead tasks that fit anew; answers how many were changed."""
    return JSONResponse({"changed": await platform.tasks.requeue_many(**await chosen(body, platform))})


@router.post("/discard", response_model=answers.Changed)
async def discard_many(body: bodies.TaskChoiceBody, platform: PlatformDep) -> Response:
    """Put all dead tasks that fit aside; answers how many were changed."""
    return JSONResponse({"changed": await platform.tasks.discard_many(**await chosen(body, platform))})


@router.get("/{ref}", response_model=Task)
async def get(ref: str, platform: PlatformDep) -> Response:
    """One dead task."""
    return wire.reply(await _dead(ref, platform))


@router.post("/{ref}/requeue", response_model=Task, responses=errors("conflict", "invalid_transition"))
async def requeue(ref: str, platform: PlatformDep) -> Response:
    """Try a dead task anew, with fresh attempts."""
    return wire.reply(await platform.tasks.requeue(ref))


@router.post("/{ref}/discard", response_model=Task, responses=errors("conflict", "invalid_transition"))
async def discard(ref: str, platform: PlatformDep) -> Response:
    """Put a dead task aside."""
    return wire.reply(await platform.tasks.discard(ref))


async def _dead(ref: str, platform: Platform) -> Task:
    task = await platform.tasks.get(ref)
    if task.state is not TaskState.DEAD:
        raise NotFound("dead letter", ref, hint=f"The task is {task.state}.")
    return task
