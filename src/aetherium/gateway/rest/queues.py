"""``/v1/queues``: what waits in each priority, pausing, limits of task types."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from aetherium.domain.queues import Queue
from aetherium.domain.tasks import Priority, TypeLimit
from aetherium.gateway import wire
from aetherium.gateway.platform import PlatformDep
from aetherium.gateway.rest import answers, bodies
from aetherium.gateway.rest.part import Part

router = Part(prefix="/queues", tags=["queues"])


@router.get("", response_model=answers.Page[Queue])
async def index(platform: PlatformDep) -> Response:
    """All queues, the most urgent first."""
    return JSONResponse({"items": wire.dump(list(await platform.queues.list())), "next_cursor": None})


@router.get("/limits", response_model=dict[str, TypeLimit])
async def limits(platform: PlatformDep) -> Response:
    """The limits of task types that have one, by type."""
    found = await platform.queues.limits()
    return JSONResponse({name: wire.dump(limit) for name, limit in found.items()})


@router.put("/limits/{task_type}", status_code=204)
async def limit(task_type: str, body: bodies.LimitBody, platform: PlatformDep) -> Response:
    """Bound how fast, and how many at once, tasks of a type may begin."""
    await platform.queues.limit(task_type, body)
    return Response(status_code=204)


@router.delete("/limits/{task_type}", status_code=204)
async def unlimit(task_type: str, platform: PlatformDep) -> Response:
    """Take the limit of a type away."""
    await platform.queues.unlimit(task_type)
    return Response(status_code=204)


@router.post("/{priority}/pause", response_model=Queue)
async def pause(priority: Priority, platform: PlatformDep) -> Response:
    """Give none of its tasks to a worker any more; what runs goes on."""
    return wire.reply(await platform.queues.pause(priority))


@router.post("/{priority}/resume", response_model=Queue)
async def resume(priority: Priority, platform: PlatformDep) -> Response:
    """Let it go on."""
    return wire.reply(await platform.queues.resume(priority))
