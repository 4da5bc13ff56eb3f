"""How large requests may be, and how long they may take."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aetherium.domain.errors import AetheriumError, DeadlineExceeded, LimitExceeded
from aetherium.gateway import problems
from aetherium.gateway.connections import cut
from aetherium.gateway.side import header

if TYPE_CHECKING:
    from aetherium.gateway.access import Services

# Bodies that are streamed to where they belong, which limits them.
_UPLOADS = re.compile(r"PUT /v1/vms/[^/]+/files/(content|archive)|POST /v1/uploads")
# A body that comes has its time, and a second more for each so many bytes: a bad line is fast enough.
_SLOWEST_BYTES_S = 1024
# Who sends on while the answer is there already gets so long to see it: a connection that is closed with
# something unread is reset, and the answer is lost with it.
_LINGER_S = 1.0
_DEADLINE = "deadline"


class Bodies:
    """Ends requests whose body is too large or too slow."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._largest = services.settings.max_body_mib << 20
        self._body_s = services.settings.body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not _has_body(scope):
            await self._app(scope, receive, send)
            return
        largest = None if _is_upload(scope) else self._largest
        exchange = _Exchange(scope, receive, send, largest, self._body_s)
        if not await exchange.refused():
            await self._app(scope, exchange.receive, exchange.send)


class Deadlines:
    """Gives up what is not answered in time."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._request_s = services.settings.request_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_upload(scope):
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._request_s) as deadline:
                scope["state"][_DEADLINE] = deadline
                await self._app(scope, receive, send)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise DeadlineExceeded(
                f"This took longer than {self._request_s:g} seconds, and was given up.",
                hint="See what became of it before you repeat it.",
            ) from error


def unbounded(scope: Scope) -> None:
    """The answer may take as long as it likes: it is a stream, or waited for."""
    deadline: asyncio.Timeout | None = scope.get("state", {}).get(_DEADLINE)
    if deadline is not None and not deadline.expired():
        deadline.reschedule(None)


def _has_body(scope: Scope) -> bool:
    length = header(scope, b"content-length")
    return length not in ("", "0") or bool(header(scope, b"transfer-encoding"))


def _is_upload(scope: Scope) -> bool:
    return _UPLOADS.fullmatch(f"{scope['method']} {scope['path']}") is not None


class _Exchange:
    """One request and its answer. Of a body that is refused the application hears that its client went."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        largest: int | None,
        body_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._largest = largest
        self._body_s = body_s
        self._now = now
        self._bytes = 0
        self._waited_s = 0.0
        self._length = header(scope, b"content-length")
        self._whole = False
        self._started = False
        self._refused = False

    async def refused(self) -> bool:
        """Refuse a body that says itself that it is too large."""
        largest = self._largest
        if largest is not None and self._length.isdecimal() and int(self._length) > largest:
            await self._refuse(_too_large(largest), 413)
        return self._refused

    async def receive(self) -> Message:
        if self._refused:
            return {"type": "http.disconnect"}
        if self._whole:
            return await self._receive()
        left_s = self._body_s + self._bytes / _SLOWEST_BYTES_S - self._waited_s
        begun = self._now()
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                message = await self._take()
        except TimeoutError:
            return await self._refuse(_too_slow(self._body_s), 408)
        self._waited_s += self._now() - begun
        if self._largest is not None and self._bytes > self._largest:
            return await self._refuse(_too_large(self._largest), 413)
        return message

    async def send(self, message: Message) -> None:
        if not self._refused:
            await self._answer(message)

    async def _answer(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            await self._drain(0.0)
            if not self._whole:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        elif not self._whole and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._drain(_LINGER_S)
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _take(self) -> Message:
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        return message

    async def _drain(self, seconds: float) -> None:
        """Read what is left of the body for so long; without waiting for 0."""
        try:
            async with asyncio.timeout(seconds):
                while not self._whole:
                    await self._take()
        except TimeoutError:
            return

    async def _refuse(self, error: AetheriumError, status: int) -> Message:
        self._refused = True
        if self._started:
            await cut(self._scope, self._receive)
        else:
            answer = problems.problem_response({**problems.document(error), "status": status})
            await answer(self._scope, self._receive, self._answer)
        return {"type": "http.disconnect"}


def _too_large(limit: int) -> LimitExceeded:
    return LimitExceeded(
        f"The body has more than {limit >> 20} MiB.",
        hint="Larger things go in as files or archives, or the setting max_body_mib allows more.",
        limit="max_body_mib",
        allowed=limit >> 20,
    )


def _too_slow(seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"The body did not come within {seconds:g} seconds.",
        hint="Send it faster, or the setting body_timeout_s allows more.",
        limit="body_timeout_s",
    )
