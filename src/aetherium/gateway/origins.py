"""Pages of other sites: what browsers let them do here.

No cookies are used, so a page has no more rights than the key that it holds. But a browser on a host that is
trusted, because of its network or of a proxy in front of the Unix socket, could be made to send requests by
any page: those that change something, and WebSockets, are refused if they come from a page of another site.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from aetherium.domain.errors import Forbidden
from aetherium.gateway.side import header, is_local

if TYPE_CHECKING:
    from aetherium.gateway.access import Services

_SAFE = ("GET", "HEAD", "OPTIONS")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_REQUEST_HEADERS = (
    "Aetherium-Project",
    "Authorization",
    "Content-Digest",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "Range",
    "X-Request-Id",
)
_ANSWER_HEADERS = (
    "Content-Range",
    "ETag",
    "RateLimit",
    "RateLimit-Policy",
    "Repr-Digest",
    "Retry-After",
    "X-Request-Id",
)
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def sharing(app: ASGIApp, services: Services) -> ASGIApp:
    """Tells browsers that pages of the setting `cors_origins` may read all answers."""
    allowed = services.settings.cors_origins
    if not allowed:
        return app
    return CORSMiddleware(
        app,
        allow_origins=allowed,
        allow_methods=_METHODS,
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_ANSWER_HEADERS,
    )


class Origins:
    """Refuses what changes something, and WebSockets, from pages of any other site."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._allowed = services.settings.cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" or (scope["type"] == "http" and scope["method"] not in _SAFE):
            _check(scope, self._allowed)
        await self._app(scope, receive, send)


def _check(scope: Scope, allowed: Sequence[str]) -> None:
    """Raises Forbidden."""
    origin = header(scope, b"origin")
    if not origin or origin in allowed or (not is_local(scope) and _same(scope, origin)):
        return
    raise Forbidden(
        f"Pages of {origin} may not do this.",
        hint="Add the origin to the setting cors_origins, if it is to be trusted.",
        permission="",
    )


def _same(scope: Scope, origin: str) -> bool:
    """Whether the page was served from where the request goes. Not believed on the Unix socket: what stands
    before it lets in whoever reaches it, under any name."""
    try:
        page, here = urlsplit(origin), urlsplit(f"//{header(scope, b'host')}")
        secure = scope["scheme"] in ("https", "wss")
        return (
            page.scheme == ("https" if secure else "http")
            and bool(page.hostname)
            and page.hostname == here.hostname
            and (page.port or _PORTS[page.scheme]) == (here.port or _PORTS[page.scheme])
        )
    except ValueError:  # no port
        return False
