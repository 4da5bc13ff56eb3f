"""Whether the gateway lives, whether it takes work, and the host's check-up."""

from __future__ import annotations

import os

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from aetherium import __version__
from aetherium.domain.checks import Check
from aetherium.gateway import wire
from aetherium.gateway.platform import DrainDep, PlatformDep, ServicesDep

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, object]:
    """The process lives."""
    return {"status": "ok", "version": __version__, "pid": os.getpid()}


@router.get("/readyz")
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
