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
_UPLOADS = re.compile(r"/v1/vms/[^/]+/files/(content|archive)")
# A body that comes has its time, and a second more for each so many bytes: a bad line is fast enough.
_SLOWEST_BYTES_S = 1024
_DEADLINE = "deadline"


class Bounds:
    """Ends requests whose body is too large or too slow, and those that take too long to be answered."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._largest = services.settings.max_body_mib << 20
        self._body_s = services.settings.body_timeout_s
        self._request_s = services.settings.request_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        upload = scope["method"] == "PUT" and _UPLOADS.fullmatch(scope["path"])
        exchange = _Exchange(scope, receive, send, None if upload else self._largest, self._body_s)
        exchange.check_length()
        try:
            async with asyncio.timeout(None if upload else self._request_s) as deadline:
                scope["state"][_DEADLINE] = deadline
                await self._app(scope, exchange.receive, exchange.send)
        except TimeoutError as error:
            if not deadline.expired() or exchange.started:
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
        self._whole = not _has_body(scope)
        self._refused = False
        self.started = False

    def check_length(self) -> None:
        """Raises LimitExceeded for a body that says itself that it is too large."""
        length = header(self._scope, b"content-length")
        if self._largest is not None and length.isdecimal() and int(length) > self._largest:
            raise _too_large(self._largest)

    async def receive(self) -> Message:
        if self._refused:
            return {"type": "http.disconnect"}
        if self._whole:
            return await self._receive()
        left_s = self._body_s + self._bytes / _SLOWEST_BYTES_S - self._waited_s
        begun = self._now()
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                message = await self._receive()
        except TimeoutError:
            return await self._refuse(_too_slow(self._body_s), 408)
        self._waited_s += self._now() - begun
        self._bytes += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._largest is not None and self._bytes > self._largest:
            return await self._refuse(_too_large(self._largest), 413)
        return message

    async def send(self, message: Message) -> None:
        if self._refused:
            return
        if message["type"] == "http.response.start":
            self.started = True
            if not self._whole:  # what is left of the body is not waited for
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await self._send(message)

    async def _refuse(self, error: AetheriumError, status: int) -> Message:
        self._refused = True
        if self.started:
            await cut(self._scope, self._receive)
            return {"type": "http.disconnect"}
        answer = problems.problem_response({**problems.document(error), "status": status})
        answer.headers["connection"] = "close"
        await answer(self._scope, self._receive, self._send)
        return {"type": "http.disconnect"}


def _has_body(scope: Scope) -> bool:
    return bool(header(scope, b"transfer-encoding")) or header(scope, b"content-length") not in ("", "0")


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
