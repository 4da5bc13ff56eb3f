"""Executions: ``/v1/vms/{ref}/executions`` to start, ``/v1/executions/{id}`` to follow and to end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import Response

from aetherium.domain.executions import Execution, ExecutionSpec, ExecutionState
from aetherium.domain.guest import OutputChunk, OutputStream
from aetherium.gateway import wire
from aetherium.gateway.describing import GUEST, ONCE, errors, followed
from aetherium.gateway.following import FollowDep, Message
from aetherium.gateway.idempotency import OnceDep
from aetherium.gateway.listing import execution_facts
from aetherium.gateway.lists import ByTime
from aetherium.gateway.once import Once
from aetherium.gateway.platform import DrainDep, Platform, PlatformDep
from aetherium.gateway.rest import answers, bodies
from aetherium.gateway.rest.part import Part
from aetherium.gateway.streams import awaited
from aetherium.interfaces.guest import Attachment

router = Part(tags=["executions"])

_OUTPUT = (
    Message({"stream": "stdout", "offset": 0, "text": "Linux\n"}, "output", "out:6,err:0"),
    Message({"result": "<ExecutionResult>"}, "result", "out:6,err:0", last=True),
)
_BEGUN = Message({"execution": "<Execution>"}, "execution", "out:0,err:0")
_RUN = {
    **followed(_BEGUN, *_OUTPUT),
    201: {"description": "It runs in the background.", "model": Execution},
    **errors(*GUEST, *ONCE, "limit_exceeded", "deadline_exceeded"),
}

Offset = Annotated[int, Query(ge=0, description="Bytes of this stream that the client has already.")]


class Mode(StrEnum):
    """How to run: wait for the end, start in the background, or stream the output."""

    WAIT = "wait"
    BACKGROUND = "background"
    STREAM = "stream"


HowToRun = Annotated[Mode, Query(description="Wait for its end, start it in the background, or stream.")]


@router.post("/vms/{ref}/executions", status_code=200, response_model=answers.Ran, responses=_RUN)
async def run(
    ref: str,
    body: bodies.ExecutionBody,
    platform: PlatformDep,
    follow: FollowDep,
    once: OnceDep,
    mode: HowToRun = Mode.WAIT,
) -> Response:
    """Run a command. `wait` answers `{"execution", "stdout", "stderr"}` at its end, `background` the
    execution at once (201), `stream` lines: `{"execution"}`, `{"stream", "offset", "text"}` …, `{"result"}`.
    For stdin and terminals: the WebSocket `/v1/vms/{ref}/terminal`."""
    if mode is Mode.BACKGROUND:
        return await once.reply(lambda: _started(platform, ref, body, once))
    if mode is Mode.WAIT:
        return await once.reply(lambda: _ran(platform, ref, body, once), 200)
    if once.request is None:
        return follow.answer(lambda: _launched(platform, ref, body))
    return follow.answer(lambda: _begun_once(platform, ref, body, once))


async def _started(platform: Platform, ref: str, spec: ExecutionSpec, once: Once) -> Execution:
    return await platform.executions.start(ref, spec, execution_id=once.mark or None)


async def _ran(platform: Platform, ref: str, spec: ExecutionSpec, once: Once) -> dict[str, Any]:
    execution, stdout, stderr = await platform.executions.run(ref, spec, execution_id=once.mark or None)
    return {
        "execution": wire.dump(execution),
        "stdout": wire.encode_bytes(stdout),
        "stderr": wire.encode_bytes(stderr),
    }


@asynccontextmanager
async def _launched(
    platform: Platform, ref: str, spec: ExecutionSpec
) -> AsyncIterator[AsyncIterator[Message]]:
    async with platform.executions.launch(ref, spec) as (execution, attachment):
        yield _messages(attachment, execution)


@asynccontextmanager
async def _begun_once(
    platform: Platform, ref: str, spec: ExecutionSpec, once: Once
) -> AsyncIterator[AsyncIterator[Message]]:
    """A repeat follows the execution that the first request has begun."""
    begun = await once.value(lambda: _started(platform, ref, spec, once))
    execution = await platform.executions.get(begun["id"])
    async with platform.executions.attach(execution.id) as attachment:
        yield _messages(attachment, execution)


async def _messages(
    attachment: Attachment, execution: Execution | None = None, *, stdout: int = 0, stderr: int = 0
) -> AsyncIterator[Message]:
    """The execution, its output from these offsets on, its result."""
    ends = {OutputStream.STDOUT: stdout, OutputStream.STDERR: stderr}

    def reached() -> str:
        return f"out:{ends[OutputStream.STDOUT]},err:{ends[OutputStream.STDERR]}"

    if execution is not None:
        yield Message({"execution": wire.dump(execution)}, "execution", reached())
    async for chunk in attachment:
        ends[chunk.stream] = chunk.offset + len(chunk.data)
        yield Message(_chunk_json(chunk), "output", reached())
    yield Message({"result": wire.dump(await attachment.result())}, "result", reached(), last=True)


def _chunk_json(chunk: OutputChunk) -> dict[str, Any]:
    return {"stream": chunk.stream.value, "offset": chunk.offset, **wire.encode_bytes(chunk.data)}


@router.get("/vms/{ref}/executions", response_model=answers.Page[Execution])
async def index(
    ref: str,
    platform: PlatformDep,
    listing: ByTime,
    state: Annotated[
        list[ExecutionState] | None, Query(description="Only executions in these states.")
    ] = None,
) -> Response:
    """The executions of a VM, newest first."""
    found = [one for one in await platform.executions.list(ref) if not state or one.state in state]
    return listing.reply(listing.page(found, execution_facts))


@router.get("/executions/{execution_id}", response_model=Execution, responses=errors(*GUEST))
async def get(
    execution_id: str, platform: PlatformDep, drain: DrainDep, wait: bodies.Wait = False
) -> Response:
    """One execution; with `wait` the answer comes at its end."""

    async def ended() -> bytes:
        return wire.dump_json(await platform.executions.wait(execution_id))

    return awaited(ended, drain) if wait else wire.reply(await platform.executions.get(execution_id))


@router.get(
    "/executions/{execution_id}/output",
    response_class=Response,
    responses={**followed(*_OUTPUT), **errors(*GUEST)},
)
async def output(
    execution_id: str,
    platform: PlatformDep,
    follow: FollowDep,
    stdout_offset: Offset = 0,
    stderr_offset: Offset = 0,
) -> Response:
    """Its output from these offsets on, live, as lines: `{"stream", "offset", "text"}` …, `{"result"}`."""
    stdout, stderr = follow.offsets(stdout_offset, stderr_offset)

    @asynccontextmanager
    async def source() -> AsyncIterator[AsyncIterator[Message]]:
        async with platform.executions.attach(
            execution_id, stdout_offset=stdout, stderr_offset=stderr
        ) as attachment:
            yield _messages(attachment, stdout=stdout, stderr=stderr)

    return follow.answer(source)


@router.post("/executions/{execution_id}/signal", status_code=204, responses=errors(*GUEST))
async def signal(execution_id: str, body: bodies.SignalBody, platform: PlatformDep) -> Response:
    """Send a signal to its whole process group."""
    await platform.executions.signal(execution_id, body.signal)
    return Response(status_code=204)


@router.post("/executions/{execution_id}/kill", status_code=204, responses=errors(*GUEST))
async def kill(execution_id: str, platform: PlatformDep) -> Response:
    """Kill everything that it has started."""
    await platform.executions.kill(execution_id)
    return Response(status_code=204)


@router.post("/executions/{execution_id}/resize", status_code=204, responses=errors(*GUEST))
async def resize(execution_id: str, body: bodies.SizeBody, platform: PlatformDep) -> Response:
    """Change the size of its terminal."""
    await platform.executions.resize(execution_id, body)
    return Response(status_code=204)
