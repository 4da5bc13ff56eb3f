"""Headers of every answer: the request's id, what keeps browsers from doing harm, what is left of a rate."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aetherium.gateway.side import header

_FORM = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STARTS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
_API = "/v1"
# A year, and for this host only: its neighbours are not ours.
_HSTS = (b"strict-transport-security", b"max-age=31536000")
_EVERYWHERE = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
# Tells a class of answers from those that a page brings itself.
_NO_STORE = (b"cache-control", b"no-store")
_EXTRA = "answer_headers"


class AnswerHeaders:
    """Gives each request an id, its client's if that fits, and each answer the headers that it lacks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = header(scope, b"x-request-id")
        request_id = given if _FORM.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id

        async def sending(message: Message) -> None:
            if message["type"] in _STARTS:
                own = (b"x-request-id", request_id.encode())
                message["headers"] = _with(message.get("headers", ()), (own, *_lacking(scope)))
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, sending)


def request_id(scope: Scope) -> str:
    """Of this request."""
    return str(scope["state"]["request_id"])


def add_header(scope: Scope, name: str, value: str) -> None:
    """Let the answer have it, whoever makes the answer."""
    scope["state"].setdefault(_EXTRA, []).append((name.encode("latin-1"), value.encode("latin-1")))


def _lacking(scope: Scope) -> Iterable[tuple[bytes, bytes]]:
    yield from _EVERYWHERE
    if scope["scheme"] in ("https", "wss"):
        yield _HSTS
    if scope["path"].startswith(_API):
        yield _NO_STORE
    yield from scope["state"].get(_EXTRA, ())


def _with(
    headers: Iterable[tuple[bytes, bytes]], lacking: Iterable[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    found = list(headers)
    present = {name.lower() for name, _ in found}
    return found + [(name, value) for name, value in lacking if name not in present]
