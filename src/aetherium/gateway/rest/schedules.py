"""``/v1/schedules``: create, list, get, pause, resume, run now, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from aetherium.domain.schedules import Schedule
from aetherium.domain.tasks import Task
from aetherium.gateway import wire
from aetherium.gateway.describing import ONCE, errors
from aetherium.gateway.idempotency import OnceDep
from aetherium.gateway.listing import Sort, named_facts
from aetherium.gateway.lists import BySort, Name
from aetherium.gateway.platform import PlatformDep
from aetherium.gateway.rest import answers, bodies
from aetherium.gateway.rest.part import Part

router = Part(prefix="/schedules", tags=["schedules"])


@router.post("", status_code=201, response_model=Schedule, responses=errors(*ONCE, "already_exists"))
async def create(body: bodies.ScheduleBody, platform: PlatformDep, once: OnceDep) -> Response:
    """Create a schedule; its first task is made at its next time."""
    return await once.reply(
        lambda: platform.schedules.create(body.name, body.spec, project=body.project, mark=once.mark)
    )


@router.get("", response_model=answers.Page[Schedule])
async def index(
    platform: PlatformDep,
    listing: BySort,
    name: Name = "",
    paused: Annotated[bool | None, Query(description="Only those that are paused, or are not.")] = None,
) -> Response:
    """All schedules, by name."""
    found = [one for one in await platform.schedules.list() if paused in (None, one.paused)]
    return listing.reply(listing.page(found, named_facts, name=name, default=Sort.NAME))


@router.get("/{ref}", response_model=Schedule)
async def get(ref: str, platform: PlatformDep) -> Response:
    """One schedule by id, name, or unique prefix of its id."""
    return wire.reply(await platform.schedules.get(ref))


@router.post("/{ref}/pause", response_model=Schedule)
async def pause(ref: str, platform: PlatformDep) -> Response:
    """Let it make no tasks until it is resumed."""
    return wire.reply(await platform.schedules.pause(ref))


@router.post("/{ref}/resume", response_model=Schedule)
async def resume(ref: str, platform: PlatformDep) -> Response:
    """Let it go on with its next time."""
    return wire.reply(await platform.schedules.resume(ref))


@router.post("/{ref}/run", status_code=201, response_model=Task, responses=errors(*ONCE, "limit_exceeded"))
async def run(ref: str, platform: PlatformDep, once: OnceDep) -> Response:
    """Make its task now, beside its times."""
    return await once.reply(lambda: platform.schedules.run_now(ref, mark=once.mark))


@router.delete("/{ref}", status_code=204)
async def delete(ref: str, platform: PlatformDep) -> Response:
    """Delete a schedule; the tasks that it has made stay."""
    await platform.schedules.delete(ref)
    return Response(status_code=204)
