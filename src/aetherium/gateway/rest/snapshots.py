"""``/v1/snapshots``, and ``/v1/vms/{ref}/snapshots`` to make one."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from aetherium.domain.snapshots import Snapshot, SnapshotState
from aetherium.gateway import wire
from aetherium.gateway.describing import ONCE, errors
from aetherium.gateway.idempotency import OnceDep
from aetherium.gateway.listing import snapshot_facts
from aetherium.gateway.lists import BySort, Labels, Name
from aetherium.gateway.platform import PlatformDep
from aetherium.gateway.rest import answers, bodies
from aetherium.gateway.rest.part import Part

router = Part(tags=["snapshots"])


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
    return await once.reply(lambda: platform.snapshots.create(ref, name=given.name, mark=once.mark))


@router.get("/snapshots", response_model=answers.Page[Snapshot])
async def index(
    platform: PlatformDep,
    listing: BySort,
    labels: Labels,
    name: Name = "",
    state: Annotated[list[SnapshotState] | None, Query(description="Only snapshots in these states.")] = None,
) -> Response:
    """Snapshots, newest first."""
    found = [one for one in await platform.snapshots.list() if not state or one.state in state]
    return listing.reply(listing.page(found, snapshot_facts, name=name, labels=labels))


@router.get("/snapshots/{ref}", response_model=Snapshot)
async def get(ref: str, platform: PlatformDep) -> Response:
    """One snapshot by id, name, or unique prefix of its id."""
    return wire.reply(await platform.snapshots.get(ref))


@router.delete("/snapshots/{ref}", status_code=204, responses=errors("conflict"))
async def delete(ref: str, platform: PlatformDep) -> Response:
    """Delete a snapshot."""
    await platform.snapshots.delete(ref)
    return Response(status_code=204)
