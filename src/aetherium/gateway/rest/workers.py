"""``/v1/workers``: list, get, drain, activate, forget."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from aetherium.domain.workers import WorkerState, WorkerStatus
from aetherium.gateway import wire
from aetherium.gateway.describing import errors
from aetherium.gateway.listing import Sort, worker_facts
from aetherium.gateway.lists import BySort, Labels, Name
from aetherium.gateway.platform import PlatformDep
from aetherium.gateway.rest import answers
from aetherium.gateway.rest.part import Part

router = Part(prefix="/workers", tags=["workers"])


@router.get("", response_model=answers.Page[WorkerStatus])
async def index(
    platform: PlatformDep,
    listing: BySort,
    labels: Labels,
    name: Name = "",
    state: Annotated[list[WorkerState] | None, Query(description="Only workers in these states.")] = None,
) -> Response:
    """All workers, by name, with what is in use of them."""
    found = [one for one in await platform.workers.list() if not state or one.worker.state in state]
    return listing.reply(listing.page(found, worker_facts, name=name, labels=labels, default=Sort.NAME))


@router.get("/{ref}", response_model=WorkerStatus)
async def get(ref: str, platform: PlatformDep) -> Response:
    """One worker by id, name, or unique prefix of its id."""
    return wire.reply(await platform.workers.get(ref))


@router.post("/{ref}/drain", response_model=WorkerStatus)
async def drain(ref: str, platform: PlatformDep) -> Response:
    """Give it nothing new; it finishes what it has. Holds after it was started again."""
    return wire.reply(await platform.workers.drain(ref))


@router.post("/{ref}/activate", response_model=WorkerStatus)
async def activate(ref: str, platform: PlatformDep) -> Response:
    """Give it tasks again."""
    return wire.reply(await platform.workers.activate(ref))


@router.delete("/{ref}", status_code=204, responses=errors("conflict"))
async def remove(ref: str, platform: PlatformDep) -> Response:
    """Forget a worker that is lost or stopped; its VMs have failed."""
    await platform.workers.remove(ref)
    return Response(status_code=204)
