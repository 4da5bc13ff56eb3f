"""Files as answers: a range of them if wanted, and only if they have changed (RFC 9110, sections 13, 14)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from aetherium.domain.errors import Conflict
from aetherium.gateway import problems
from aetherium.gateway.streams import Drain, StreamResponse, primed

_RANGE = re.compile(r"bytes=(?:([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19}))", re.IGNORECASE)

# (offset, length) → the bytes.
Read = Callable[[int, int], AbstractAsyncContextManager[AsyncIterator[bytes]]]


@dataclass(frozen=True, slots=True)
class Content:
    """A file that is there as a whole.

    Args:
        etag: changes with its bytes; with its quotes.
        headers: what else is known of it.
    """

    size: int
    etag: str
    media_type: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `begin` to `end` (which is not part of it) of a file."""

    begin: int
    end: int

    @property
    def length(self) -> int:
        """How many these are."""
        return self.end - self.begin


def parse_range(header: str, size: int) -> Span | None:
    """The range that a header asks for, within a file of `size` bytes; None for what is no single range of
    bytes, which is to be ignored. One that has nothing of the file is empty."""
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return Span(max(0, size - int(suffix)), size)
    begin, end = int(first), int(last) + 1 if last else size
    if end <= begin and last:
        return None
    return Span(min(begin, size), min(end, size))


def answer(request: Request, content: Content, read: Read, drain: Drain) -> Response:
    """The file, or what the request wants of it."""
    headers = {"etag": content.etag, "accept-ranges": "bytes", **content.headers}
    if _matches(request.headers.get("if-none-match", ""), content.etag):
        return Response(status_code=304, headers=headers)
    span = _wanted(request, content)
    if span is None:
        span, status = Span(0, content.size), 200
    elif not span.length:
        return _refused(content)
    else:
        status = 206
        headers["content-range"] = f"bytes {span.begin}-{span.end - 1}/{content.size}"
    headers["content-length"] = str(span.length)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=content.media_type)
    return StreamResponse(
        lambda: _exactly(read, span),
        drain,
        media_type=content.media_type,
        status_code=status,
        headers=headers,
    )


def _wanted(request: Request, content: Content) -> Span | None:
    header = request.headers.get("range", "")
    only_if = request.headers.get("if-range", content.etag)
    if not header or request.method != "GET" or only_if != content.etag:
        return None
    return parse_range(header, content.size)


def _matches(header: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return "*" in tags or etag in tags


def _refused(content: Content) -> Response:
    body = problems.build(
        416,
        "range_not_satisfiable",
        f"The file has {content.size} bytes, and the range none of them.",
        "Ask for less, or without a range.",
        {"size": content.size},
    )
    response = problems.problem_response(body)
    response.headers["content-range"] = f"bytes */{content.size}"
    return response


@asynccontextmanager
async def _exactly(read: Read, span: Span) -> AsyncIterator[AsyncIterator[bytes]]:
    """As many bytes as were promised. Raises Conflict for a file that has become shorter meanwhile."""
    async with read(span.begin, span.length) as pieces:
        yield _counted(await primed(pieces), span.length)


async def _counted(pieces: AsyncIterator[bytes], length: int) -> AsyncIterator[bytes]:
    left = length
    async for piece in pieces:
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return
    if left:
        raise Conflict(f"The file ended {left} bytes too early: it was changed while it was read.")
