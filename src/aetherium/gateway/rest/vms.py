"""``/v1/vms``: create, list, get, delete, stop, pause, resume, extend, fork, metrics, console, check-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header, Query
from starlette.responses import JSONResponse, Response

from aetherium.domain.checks import Check
from aetherium.domain.vms import VM, VMMetrics, VMState
from aetherium.gateway import wire
from aetherium.gateway.describing import ONCE, errors, lines, octets
from aetherium.gateway.idempotency import OnceDep
from aetherium.gateway.listing import vm_facts
from aetherium.gateway.lists import BySort, Labels, Name
from aetherium.gateway.platform import DrainDep, PlatformDep
from aetherium.gateway.progress import with_progress
from aetherium.gateway.rest import answers, bodies
from aetherium.gateway.rest.part import Part
from aetherium.gateway.streams import NDJSON, ndjson
from aetherium.services.vms import silent

router = Part(prefix="/vms", tags=["vms"])

MaxBytes = Annotated[int, Query(ge=1, le=1 << 20, description="So many at most.")]

_CREATED = {
    **lines({"progress": "Booting"}, {"vm": "<VM>"}, status=201),
    **errors(*ONCE, "already_exists", "unsupported", "limit_exceeded", "boot_failed", "deadline_exceeded"),
}
_STEP = ("conflict", "invalid_transition", "unsupported", "vm_failed")


def wants_stream(accept: str) -> bool:
    """Whether the client asks for lines of JSON."""
    return NDJSON in accept


@router.post("", status_code=201, response_model=VM, responses=_CREATED)
async def create(
    body: bodies.VMCreateBody,
    platform: PlatformDep,
    drain: DrainDep,
    once: OnceDep,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Create a VM; answers when it runs and its agent is ready. With `Accept: application/x-ndjson` progress
    is streamed, the last line is `{"vm": …}`, and a client that goes away takes its request back."""

    async def make(report: Callable[[Any], None] = silent) -> VM:
        return await platform.vms.create(body.spec, snapshot=body.snapshot, progress=report, mark=once.mark)

    if wants_stream(accept):
        return ndjson(with_progress(once.progressing(make), result="vm"), drain)
    return await once.reply(make)


@router.get("", response_model=answers.Page[VM])
async def index(
    platform: PlatformDep,
    listing: BySort,
    labels: Labels,
    name: Name = "",
    state: Annotated[list[VMState] | None, Query(description="Only VMs in these states.")] = None,
) -> Response:
    """VMs, newest first."""
    found = await platform.vms.list(states=state or (), labels=labels)
    return listing.reply(listing.page(found, vm_facts, name=name))


@router.get("/{ref}", response_model=VM)
async def get(ref: str, platform: PlatformDep) -> Response:
    """One VM by id, name, or unique prefix of its id."""
    return wire.reply(await platform.vms.get(ref))


@router.delete("/{ref}", status_code=204, responses=errors("conflict"))
async def delete(ref: str, platform: PlatformDep) -> Response:
    """Delete a VM, whatever its state, and all that it has on the host."""
    await platform.vms.delete(ref)
    return Response(status_code=204)


@router.post("/{ref}/stop", response_model=VM, responses=errors(*_STEP))
async def stop(ref: str, platform: PlatformDep, body: bodies.VMStopBody = None) -> Response:
    """Power off cleanly, then by force."""
    grace_s = (body or bodies.VMStop()).grace_s
    return wire.reply(await platform.vms.stop(ref, grace_s=grace_s))


@router.post("/{ref}/pause", response_model=VM, responses=errors(*_STEP))
async def pause(ref: str, platform: PlatformDep) -> Response:
    """Stop its processors."""
    return wire.reply(await platform.vms.pause(ref))


@router.post("/{ref}/resume", response_model=VM, responses=errors(*_STEP))
async def resume(ref: str, platform: PlatformDep) -> Response:
    """Let it go on; its clock is set."""
    return wire.reply(await platform.vms.resume(ref))


@router.post("/{ref}/extend", response_model=VM)
async def extend(ref: str, body: bodies.VMExtendBody, platform: PlatformDep) -> Response:
    """Set the time to live, counted from now; null: without end."""
    return wire.reply(await platform.vms.extend(ref, body.ttl_s))


@router.post(
    "/{ref}/fork",
    status_code=201,
    response_model=list[VM],
    responses=errors(*_STEP, *ONCE, "already_exists", "limit_exceeded", "boot_failed"),
)
async def fork(ref: str, platform: PlatformDep, once: OnceDep, body: bodies.VMForkBody = None) -> Response:
    """Copies of a running VM, with its memory shared copy-on-write and identities of their own."""
    given = body or bodies.VMFork()
    return await once.reply(lambda: platform.vms.fork(ref, given.count, names=given.names, mark=once.mark))


@router.get("/{ref}/metrics", response_model=VMMetrics, responses=errors("conflict"))
async def metrics(ref: str, platform: PlatformDep) -> Response:
    """CPU, memory, disk and processes, from outside and from inside."""
    return wire.reply(await platform.vms.metrics(ref))


@router.get("/{ref}/console", response_class=Response, responses=octets())
async def console(ref: str, platform: PlatformDep, max_bytes: MaxBytes = 65536) -> Response:
    """The last bytes of the serial console, as they are."""
    data = await platform.vms.console(ref, max_bytes=max_bytes)
    return Response(data, media_type="application/octet-stream")


@router.get("/{ref}/diagnosis", response_model=list[Check])
async def diagnosis(ref: str, platform: PlatformDep) -> Response:
    """Walks the channel to the VM: process, console, transport, handshake, agent; says where it stops."""
    return JSONResponse(wire.dump(list(await platform.vms.diagnose(ref))))
