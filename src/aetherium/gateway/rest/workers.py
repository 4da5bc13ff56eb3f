"""``/v1/workers``: list, get, drain, activate, forget."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from aetherium.domain.workers import WorkerStatus
from aetherium.gateway import wire
from aetherium.gateway.describing import errors
from aetherium.gateway.platform import PlatformDep
from aetherium.gateway.rest import answers

router = APIRouter(prefix="/workers", tags=["workers"])


@router.get("", response_model=answers.Page[WorkerStatus])
async def index(platform: PlatformDep) -> Response:
    """All workers, by name, with what is in use of them."""
    return JSONResponse({"items": wire.dump(list(await platform.workers.list())), "next_cursor": None})


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
