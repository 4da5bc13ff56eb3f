"""Over which socket a request came, which nothing in the request can say."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

_LOCAL = "aetherium.local"


class Side:
    """What listens at one socket.

    Args:
        local: it is the Unix socket, which only its owner can open.
    """

    def __init__(self, app: ASGIApp, *, local: bool) -> None:
        self._app = app
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_LOCAL] = self._local
        await self._app(scope, receive, send)


def is_local(scope: Scope) -> bool:
    """Whether the request came over the Unix socket."""
    return scope.get(_LOCAL) is True


def address(scope: Scope) -> str:
    """The client's; empty on the Unix socket."""
    client = scope.get("client")
    return "" if is_local(scope) or not client else str(client[0])


def header(scope: Scope, name: bytes) -> str:
    """The first header of that name, in small letters; empty: there is none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")
