"""Whether the gateway lives, whether it takes work, and the host's check-up."""

from __future__ import annotations

import os

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from aetherium import __version__
from aetherium.domain.checks import Check
from aetherium.gateway import wire
from aetherium.gateway.describing import Responses
from aetherium.gateway.platform import DrainDep, PlatformDep, ServicesDep
from aetherium.gateway.rest import answers

router = APIRouter(tags=["health"])

_NOT_READY: Responses = {
    503: {
        "description": "It shuts down.",
        "content": {"application/json": {"example": {"status": "draining"}}},
    }
}


@router.get("/healthz", response_model=answers.Alive)
async def healthz() -> answers.Alive:
    """The process lives."""
    return answers.Alive("ok", __version__, os.getpid())


@router.get("/readyz", response_model=answers.Ready, responses=_NOT_READY)
async def readyz(drain: DrainDep, services: ServicesDep) -> Response:
    """It takes requests; 503 while it shuts down. `pools` says how many VMs wait and how many should."""
    if drain.draining:
        return JSONResponse({"status": "draining"}, status_code=503)
    level = wire.dump(services.pools.level())
    return JSONResponse({"status": "ready", "version": __version__, "pools": level})


@router.get("/v1/doctor", response_model=list[Check])
async def doctor(platform: PlatformDep) -> Response:
    """What works on this host, what does not, and what to do about it."""
    return JSONResponse(wire.dump(await platform.cluster.examine()))
