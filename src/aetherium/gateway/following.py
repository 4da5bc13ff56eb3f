"""Streams that can be followed: lines of JSON, or Server-Sent Events (WHATWG HTML, section 9.2) for who asks
for those. Each event says where to go on behind it: a client that loses its connection comes again with the
`Last-Event-ID`, as browsers do by themselves, and misses nothing and gets nothing twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header
from starlette.responses import Response

from aetherium.domain.errors import InvalidInput
from aetherium.gateway.platform import DrainDep
from aetherium.gateway.streams import Drain, StreamResponse, error_document, ndjson

SSE = "text/event-stream"
_COMMENT = b":\n\n"
# The id of a stream's last event ends so: nothing comes behind it.
_END = ",end"
_SEQ = re.compile(r"[0-9]{1,18}")
_OFFSETS = re.compile(r"out:([0-9]{1,18}),err:([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Message:
    """One value of a stream.

    Args:
        event: what kind it is.
        id: where to go on behind it; empty: a stream that cannot be resumed.
        last: nothing comes behind it.
    """

    data: Any
    event: str
    id: str = ""
    last: bool = False


Source = Callable[[], AbstractAsyncContextManager[AsyncIterator[Message]]]


@dataclass(frozen=True, slots=True)
class Follow:
    """How a client follows a stream, and from where on.

    Args:
        events: as Server-Sent Events.
        last: the id of the last event that it has.
        over: that was the last one.
    """

    drain: Drain
    events: bool = False
    last: str = ""
    over: bool = False

    def after(self, seq: int) -> int:
        """The number behind which to go on; `seq`: if the client has nothing yet."""
        return seq if not self.last else int(self._parsed(_SEQ, "17")[0])

    def offsets(self, stdout: int, stderr: int) -> tuple[int, int]:
        """The offsets of output from which to go on; these, if the client has nothing yet."""
        if not self.last:
            return stdout, stderr
        found = self._parsed(_OFFSETS, "out:120,err:0")
        return int(found[1]), int(found[2])

    def answer(self, source: Source) -> Response:
        """The stream that `source` is."""
        if self.over:
            return Response(status_code=204)  # which tells an EventSource not to come again
        if self.events:
            return _events(source, self.drain)

        @asynccontextmanager
        async def values() -> AsyncIterator[AsyncIterator[Any]]:
            async with source() as messages:
                yield (message.data async for message in messages)

        return ndjson(values, self.drain)

    def _parsed(self, pattern: re.Pattern[str], example: str) -> re.Match[str]:
        found = pattern.fullmatch(self.last)
        if found is None:
            raise InvalidInput(
                f"The Last-Event-ID {self.last!r} is none of this stream.",
                hint=f"Give the id of an event of this stream, such as {example}, or none.",
                field="Last-Event-ID",
            )
        return found


def _events(source: Source, drain: Drain) -> Response:
    @asynccontextmanager
    async def pieces() -> AsyncIterator[AsyncIterator[bytes]]:
        async with source() as messages:
            yield (encode_event(message) async for message in messages)

    return StreamResponse(
        pieces,
        drain,
        media_type=SSE,
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},  # nginx would hold it back
        on_error=lambda error: encode_event(Message(error_document(error), "problem")),
        keep_alive=_COMMENT,
    )


def encode_event(message: Message) -> bytes:
    """One Server-Sent Event."""
    data = json.dumps(message.data, ensure_ascii=False, separators=(",", ":"))  # without line ends
    at = f"id:{message.id}{_END if message.last else ''}\n" if message.id else ""
    return f"{at}event:{message.event}\ndata:{data}\n\n".encode()


async def _follow(
    drain: DrainDep,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    last_event_id: Annotated[
        str, Header(max_length=64, description="The `id` of the last event that the client has.")
    ] = "",
) -> Follow:
    over = last_event_id.endswith(_END)
    return Follow(drain, SSE in accept, last_event_id.removesuffix(_END), over)


FollowDep = Annotated[Follow, Depends(_follow)]
