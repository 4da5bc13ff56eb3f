"""``/v1/jobs``: submit, list, get, events, cancel, delete, logs, and what a job brought back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from aetherium.domain.errors import NotFound
from aetherium.domain.jobs import Artifact, Job, JobEvent, JobState, StepLog
from aetherium.gateway import wire
from aetherium.gateway.describing import errors, followed, octets
from aetherium.gateway.digests import show
from aetherium.gateway.following import FollowDep, Message
from aetherium.gateway.lists import ByTime, Labels, Name
from aetherium.gateway.platform import DrainDep, Platform, PlatformDep
from aetherium.gateway.ranges import Content, answer
from aetherium.gateway.rest import answers, bodies
from aetherium.gateway.rest.part import Part
from aetherium.gateway.streams import Drain, StreamResponse, awaited, primed
from aetherium.interfaces.store import JobFilter
from aetherium.services.job_journal import FINISHED

router = Part(prefix="/jobs", tags=["jobs"])

Delta = Annotated[bool, Query(description="Against what was delivered.")]
_TEXT = "text/plain; charset=utf-8"
_DIFF = "text/x-diff"
_EVENTS = tuple(
    Message(
        {"seq": seq, "at": "2026-03-01T12:00:00Z", "kind": kind, "data": data},
        kind,
        str(seq),
        kind == FINISHED,
    )
    for seq, kind, data in (
        (7, "output", {"step": "test", "stream": "stdout", "text": "ok\n"}),
        (8, FINISHED, {"state": "succeeded", "exit_code": 0, "error_code": "", "error": ""}),
    )
)


@router.post("", status_code=201, response_model=Job, responses=errors("limit_exceeded", "source_failed"))
async def submit(body: bodies.JobBody, platform: PlatformDep, idempotency_key: bodies.Key = "") -> Response:
    """Start a job; answers at once. Its events tell how it goes."""
    job = await platform.jobs.submit(body.spec, secrets=body.secrets, idempotency_key=idempotency_key)
    return wire.reply(job, 201)


@router.get("", response_model=answers.Page[Job])
async def index(
    platform: PlatformDep,
    listing: ByTime,
    labels: Labels,
    name: Name = "",
    state: Annotated[list[JobState] | None, Query(description="Only jobs in these states.")] = None,
) -> Response:
    """Jobs, newest first."""
    where = JobFilter(states=state or (), name=name)
    listing.narrow(where, labels)
    found = await platform.jobs.list(
        limit=listing.limit + 1, before=listing.before, oldest_first=listing.oldest_first, **where
    )
    return listing.reply(listing.fetched(found))


@router.get("/{ref}", response_model=Job)
async def get(ref: str, platform: PlatformDep, drain: DrainDep, wait: bodies.Wait = False) -> Response:
    """One job; with `wait` the answer comes at its end."""
    job = await platform.jobs.get(ref)

    async def ended() -> bytes:
        return wire.dump_json(await platform.jobs.wait(job.id))

    return awaited(ended, drain) if wait else wire.reply(job)


@router.post("/{ref}/cancel", response_model=Job)
async def cancel(ref: str, platform: PlatformDep) -> Response:
    """Ask a job to end; its last event says when it has."""
    return wire.reply(await platform.jobs.cancel(ref))


@router.delete("/{ref}", status_code=204, responses=errors("conflict"))
async def delete(ref: str, platform: PlatformDep) -> Response:
    """Delete a job that has ended, with its logs and artifacts."""
    await platform.jobs.delete(ref)
    return Response(status_code=204)


@router.get("/{ref}/events", response_class=Response, responses=followed(*_EVENTS))
async def events(
    ref: str,
    platform: PlatformDep,
    follow: FollowDep,
    after: Annotated[int, Query(ge=0, description="Only events after this `seq`.")] = 0,
    kind: Annotated[
        list[str] | None, Query(description="Only events of these kinds, and the last one.")
    ] = None,
    step: Annotated[str, Query(description="Only events of this step, and the last one.")] = "",
) -> Response:
    """What happens in the job, from its begin or from `after` on, live, as lines
    `{"seq", "at", "kind", "data"}` until it has ended. With `kind=output` and `step`: a step's log, live."""
    begin = follow.after(after)

    def shown(event: JobEvent) -> bool:
        if event.kind == FINISHED:
            return True
        return (not kind or event.kind in kind) and (not step or event.data.get("step") == step)

    @asynccontextmanager
    async def source() -> AsyncIterator[AsyncIterator[Message]]:
        job = await platform.jobs.get(ref)
        yield (
            Message(wire.dump(event), event.kind, str(event.seq), last=event.kind == FINISHED)
            async for event in platform.jobs.events(job.id, after=begin)
            if shown(event)
        )

    return follow.answer(source)


@router.get("/{ref}/logs", response_model=list[StepLog])
async def logs(ref: str, platform: PlatformDep) -> Response:
    """The logs that the job's steps have written so far, in the order in which they began to write."""
    found = await platform.jobs.logs(ref)
    return Response(b"[%s]" % b",".join(map(wire.dump_json, found)), media_type="application/json")


@router.get("/{ref}/logs/{name}", response_class=Response, responses=octets(_TEXT))
async def log(
    ref: str,
    name: str,
    platform: PlatformDep,
    drain: DrainDep,
    offset: Annotated[int, Query(ge=0, description="Bytes that the client has already.")] = 0,
) -> Response:
    """What one step has written so far, stdout and stderr as they came; `name` as listed. To follow it, see
    the job's events."""
    job = await platform.jobs.get(ref)
    found = [item.name for item in await platform.jobs.logs(job.id)]
    if name not in found:
        raise NotFound("log", name, hint=f"The job has: {', '.join(found) or 'none'}.")
    return _file(platform, job, f"logs/{name}", _TEXT, drain, offset=offset)


@router.get("/{ref}/patch", response_class=Response, responses=octets(_DIFF))
async def patch(ref: str, platform: PlatformDep, drain: DrainDep, *, delta: Delta = False) -> Response:
    """All changes against the commit, as `git apply` takes them; with `delta` those that the job made to
    what was delivered, where that differed from the commit."""
    job = await platform.jobs.get(ref)
    path = "" if job.patch is None else job.patch.delta if delta else job.patch.path
    if not path:
        raise NotFound("patch of the job", ref, hint="The job changed nothing, or has not got that far.")
    return _file(platform, job, path, _DIFF, drain)


@router.head(
    "/{ref}/artifacts/{name:path}", response_class=Response, responses=octets(ranged=True, head=True)
)
@router.get("/{ref}/artifacts/{name:path}", response_class=Response, responses=octets(ranged=True))
async def artifact(ref: str, name: str, request: Request, platform: PlatformDep, drain: DrainDep) -> Response:
    """One artifact, by its name or path. `Range` asks for a part of it; `If-None-Match` and `If-Range` take
    its `ETag`; `Repr-Digest` is that of the whole (RFC 9530)."""
    job = await platform.jobs.get(ref)
    item = next((each for each in job.artifacts if name in (each.name, each.path)), None)
    if item is None:
        names = ", ".join(each.path for each in job.artifacts)
        raise NotFound("artifact", name, hint=f"The job has: {names or 'none'}.")
    read = partial(_reading, platform, job, item.path)
    return answer(request, _content(item), lambda begin, _: read(begin), drain)


def _content(item: Artifact) -> Content:
    digest = show("sha-256", bytes.fromhex(item.sha256))
    return Content(item.size_bytes, f'"{item.sha256}"', item.media_type, {"repr-digest": digest})


def _file(
    platform: Platform, job: Job, name: str, media_type: str, drain: Drain, *, offset: int = 0
) -> Response:
    return StreamResponse(lambda: _reading(platform, job, name, offset), drain, media_type=media_type)


@asynccontextmanager
async def _reading(
    platform: Platform, job: Job, name: str, offset: int
) -> AsyncIterator[AsyncIterator[bytes]]:
    yield await primed(platform.jobs.read(job.id, name, offset=offset))
