"""``/v1/events``: the log of events, live."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from aetherium.gateway import wire
from aetherium.gateway.describing import followed
from aetherium.gateway.following import FollowDep, Message
from aetherium.gateway.platform import PlatformDep
from aetherium.gateway.rest.part import Part

router = Part(prefix="/events", tags=["events"])

_EVENT = Message(
    {
        "id": "evt_06jx3k9q2w8r5t1j",
        "type": "task.succeeded",
        "subject": "task_06jx3k9q2w8r5t1d",
        "project_id": "default",
        "at": "2026-03-01T12:00:00Z",
        "data": {"type": "system.noop"},
        "seq": 41,
    },
    "task.succeeded",
    "41",
)


@router.get("", response_class=Response, responses=followed(_EVENT))
async def stream(
    platform: PlatformDep,
    follow: FollowDep,
    after: Annotated[int, Query(ge=0, description="Only events after this `seq`.")] = 0,
    latest: Annotated[
        int | None,
        Query(ge=0, le=10000, description="Instead of `after`: begin with so many that were last."),
    ] = None,
    type: Annotated[  # noqa: A002 - the name of the parameter
        list[str] | None, Query(description="Only events of these types; `task.*`: all that begin so.")
    ] = None,
    live: Annotated[
        bool, Query(alias="follow", description="Go on with what happens; false: end with the newest.")
    ] = True,
) -> Response:
    """What happened, and then what happens, as lines `{"seq", "at", "type", "subject", "data", …}`."""
    types = set(type or ())

    @asynccontextmanager
    async def source() -> AsyncIterator[AsyncIterator[Message]]:
        log = platform.events
        begin = follow.after(after)
        if latest is not None and not follow.last:
            begin = await log.before_newest(latest, types=types)
        reading = log.follow(after=begin, types=types) if live else log.read(after=begin, types=types)
        async with reading as events:
            yield (Message(wire.dump(event), event.type, str(event.seq)) async for event in events)

    return follow.answer(source)
