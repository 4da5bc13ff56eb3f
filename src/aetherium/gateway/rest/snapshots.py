"""``/v1/snapshots``, and ``/v1/vms/{ref}/snapshots`` to make one."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from aetherium.domain.snapshots import Snapshot
from aetherium.gateway import wire
from aetherium.gateway.describing import ONCE, errors
from aetherium.gateway.idempotency import OnceDep
from aetherium.gateway.platform import PlatformDep
from aetherium.gateway.rest import answers, bodies

router = APIRouter(tags=["snapshots"])


@router.post(
    "/vms/{ref}/snapshots",
    status_code=201,
    response_model=Snapshot,
    responses=errors(*ONCE, "already_exists", "conflict", "unsupported", "vm_failed"),
)
async def create(
    ref: str, platform: PlatformDep, once: OnceDep, body: bodies.SnapshotBody = None
) -> Response:
    """Memory, disk and devices of a VM, which pauses meanwhile."""
    given = body or bodies.SnapshotCreate()
    return await once.reply(lambda: platform.snapshots.create(ref, name=given.name))


@router.get("/snapshots", response_model=answers.Page[Snapshot])
async def index(platform: PlatformDep, limit: bodies.Limit = 100, cursor: bodies.Cursor = None) -> Response:
    """Snapshots, newest first."""
    return wire.page(await platform.snapshots.list(), limit=limit, cursor=cursor)


@router.get("/snapshots/{ref}", response_model=Snapshot)
async def get(ref: str, platform: PlatformDep) -> Response:
    """One snapshot by id, name, or unique prefix of its id."""
    return wire.reply(await platform.snapshots.get(ref))


@router.delete("/snapshots/{ref}", status_code=204, responses=errors("conflict"))
async def delete(ref: str, platform: PlatformDep) -> Response:
    """Delete a snapshot."""
    await platform.snapshots.delete(ref)
    return Response(status_code=204)
