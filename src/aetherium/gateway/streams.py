"""Answers that go on for a while: lines of JSON (NDJSON) and bytes, at the pace of the slowest; and answers
that are a long time coming.

Each is produced in one task: a line is asked for only after the one before went into the socket
(uvicorn's ``send`` waits while the client does not read), so nothing piles up here. An error before the
first line is an ordinary problem document; after it, the last line is ``{"error": problem}``. A stream ends
when its client goes away or stops reading, and when the gateway drains.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from traceback import format_exception
from typing import Any

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from aetherium.domain.errors import Unavailable
from aetherium.gateway import problems
from aetherium.gateway.bounds import unbounded
from aetherium.gateway.connections import cut

log = structlog.get_logger(__name__)

NDJSON = "application/x-ndjson"
# How long a client may read nothing while something is there for it: then it has stopped, or has gone without
# a word. A terminal on a bad line recovers within that.
SEND_S = 60.0
# How often a stream that is kept alive says so; proxies take one for dead after 30 to 60 s of silence.
KEEP_ALIVE_S = 15.0


class Drain:
    """Ends all open streams when the gateway shuts down."""

    def __init__(self) -> None:
        self.draining = False
        self._open: set[asyncio.Timeout] = set()
        self._none_open = asyncio.Event()
        self._none_open.set()

    def start(self) -> None:
        """End all streams, now and from now on."""
        self.draining = True
        for scope in tuple(self._open):
            _expire(scope)

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[asyncio.Timeout]:
        """A block that is left with TimeoutError when the gateway drains or its client goes away."""
        async with asyncio.timeout(0 if self.draining else None) as scope:
            self._open.add(scope)
            self._none_open.clear()
            try:
                yield scope
            finally:
                self._open.discard(scope)
                if not self._open:
                    self._none_open.set()

    async def ended(self, *, timeout_s: float) -> bool:
        """Wait until no stream is open; whether that came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._none_open.wait()
        except TimeoutError:
            return False
        return True


def _expire(scope: asyncio.Timeout) -> None:
    if not scope.expired():
        scope.reschedule(asyncio.get_running_loop().time())


def encode_line(value: Any) -> bytes:
    """One line of NDJSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def error_document(error: BaseException) -> dict[str, Any]:
    """The problem document of whatever went wrong; what is not foreseen goes to the log."""
    ours = problems.as_domain_error(error)
    if ours is not None:
        return problems.document(ours)
    incident = secrets.token_hex(4)
    # As text: a renderer that shows local variables would show secrets.
    log.error("unforeseen error", incident=incident, traceback="".join(format_exception(error)))
    return problems.unforeseen(incident)


class Stalled(Exception):
    """The client has read nothing for SEND_S."""


async def in_time(sending: Awaitable[None]) -> None:
    """Wait until something is on its way to the client. Raises Stalled."""
    try:
        async with asyncio.timeout(SEND_S):
            await sending
    except TimeoutError:
        raise Stalled from None


class _Client:
    """One that an answer goes to, piece by piece."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._sending = asyncio.Lock()
        self.started = False
        self.gone = False

    async def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        await self._put({"type": "http.response.start", "status": status, "headers": headers})
        self.started = True

    async def put(self, piece: bytes) -> None:
        await self._put({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self, last: bytes) -> None:
        with suppress(Stalled):  # all but the last piece was read, and nobody waits for it
            await self._put({"type": "http.response.body", "body": last})

    async def keep_alive(self, piece: bytes) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE_S)
            await self.put(piece)

    async def watch(self, timeout: asyncio.Timeout) -> None:
        """End the block of `timeout` when the client goes away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        _expire(timeout)

    async def _put(self, message: Message) -> None:
        async with self._sending:
            await in_time(self._send(message))


class StreamResponse(Response):
    """An answer made of the pieces of `source`, which is entered before the status is sent.

    Args:
        on_error: the last piece when something fails after the first; None: the connection is cut, so that
            the client sees that the body is not whole.
        keep_alive: sent between pieces every KEEP_ALIVE_S; empty: nothing is.
    """

    def __init__(
        self,
        source: Callable[[], AbstractAsyncContextManager[AsyncIterator[bytes]]],
        drain: Drain,
        *,
        media_type: str = NDJSON,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        on_error: Callable[[BaseException], bytes] | None = None,
        keep_alive: bytes = b"",
    ) -> None:
        super().__init__(status_code=status_code, media_type=media_type)
        del self.headers["content-length"]
        self.headers.update(headers or {})
        self._source = source
        self._drain = drain
        self._on_error = on_error
        self._keep_alive = keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        unbounded(scope)
        client = _Client(receive, send)
        last = b""
        try:
            await self._produce(client)
        except Exception as raised:  # the boundary of a stream: told to the client, or to the log
            if client.gone:
                return
            if any(isinstance(leaf, Stalled) for leaf in problems.leaves(raised)):
                log.info("a client has stopped reading", path=scope["path"])
                await cut(scope, receive)
                return
            error = self._translate(raised)
            if not client.started:
                raise error from None
            if self._on_error is None:
                problem = error_document(error)
                log.info("a body ends early", path=scope["path"], code=problem["code"])
                await cut(scope, receive)
                return
            last = self._on_error(error)
        await client.end(last)

    async def _produce(self, client: _Client) -> None:
        async with self._drain.stream() as timeout, asyncio.TaskGroup() as group:
            helpers = [group.create_task(client.watch(timeout))]
            async with self._source() as pieces:
                await client.begin(self.status_code, self.raw_headers)
                if self._keep_alive:
                    helpers.append(group.create_task(client.keep_alive(self._keep_alive)))
                async for piece in pieces:
                    await client.put(piece)
            for helper in helpers:
                helper.cancel()

    def _translate(self, raised: Exception) -> BaseException:
        if self._drain.draining and any(isinstance(e, TimeoutError) for e in problems.leaves(raised)):
            return Unavailable("The gateway is shutting down.", hint="Resume from the last offset later.")
        return problems.as_domain_error(raised) or next(problems.leaves(raised))


def ndjson(
    source: Callable[[], AbstractAsyncContextManager[AsyncIterator[Any]]], drain: Drain
) -> StreamResponse:
    """A stream of JSON values, one per line."""

    @asynccontextmanager
    async def lines() -> AsyncIterator[AsyncIterator[bytes]]:
        async with source() as values:
            yield (encode_line(value) async for value in values)

    return StreamResponse(lines, drain, on_error=lambda e: encode_line({"error": error_document(e)}))


def awaited(work: Callable[[], Awaitable[bytes]], drain: Drain) -> StreamResponse:
    """JSON that `work` waits for, until its client goes away or the gateway drains."""

    @asynccontextmanager
    async def source() -> AsyncIterator[AsyncIterator[bytes]]:
        body = await work()
        yield _whole(body)

    return StreamResponse(source, drain, media_type="application/json")


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def primed(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same stream, of which the first piece is there: what is wrong with its source is known by now."""
    first = await anext(pieces, b"")

    async def whole() -> AsyncIterator[bytes]:
        if first:
            yield first
        async for piece in pieces:
            yield piece

    return whole()
