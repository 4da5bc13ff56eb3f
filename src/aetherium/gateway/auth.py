"""Who makes a request: an API key, somebody with a token, or whoever may open the Unix socket.

WebSockets of browsers, which cannot set headers, give the key as a subprotocol: ``aetherium.bearer.KEY``
beside ``aetherium``, which is the one that is answered; ``aetherium.project.NAME`` chooses the project. Never
as a parameter: addresses are logged on the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aetherium.domain.errors import AetheriumError, Unauthenticated
from aetherium.domain.identity import LOCAL, Caller
from aetherium.gateway.headers import add_header, request_id
from aetherium.gateway.rates import Rates
from aetherium.gateway.side import address, header, is_local

if TYPE_CHECKING:
    from aetherium.gateway.access import Services

# For everybody, with the pages below /docs.
_PUBLIC = ("/healthz", "/readyz", "/openapi.json", "/docs")
_PROTOCOL = "aetherium"
_BEARER, _PROJECT = "aetherium.bearer.", "aetherium.project."


class Authentication:
    """Puts the Caller into the request's state, and counts the request."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._authenticator = services.authenticator
        self._rates = Rates(services)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        source = address(scope)
        if _public(scope["path"]):
            if source:
                await self._rates.count_address(scope, source)
        else:
            caller = await self._caller(scope, source)
            scope["state"]["caller"] = caller
            if caller.subject != LOCAL.subject:
                await self._rates.count(scope, caller)
        if scope["type"] == "websocket":
            send = _choosing(scope, send)
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope, source: str) -> Caller:
        """Raises what Authenticator raises, and RateLimited if that happens too often."""
        authorization, project = _given(scope)
        try:
            if is_local(scope) and not authorization:
                return await self._authenticator.local(project, request_id(scope))
            return await self._authenticator.caller(authorization, project, source, request_id(scope))
        except AetheriumError as error:
            if source:
                await self._rates.count_address(scope, source)
            if isinstance(error, Unauthenticated):
                add_header(scope, "www-authenticate", 'Bearer realm="aetherium"')
            raise


def _public(path: str) -> bool:
    return path in _PUBLIC or path.startswith("/docs/")


def _given(scope: Scope) -> tuple[str, str]:
    """The value of Authorization, and the project."""
    authorization = header(scope, b"authorization")
    project = header(scope, b"aetherium-project")
    for protocol in scope.get("subprotocols", ()):
        if not authorization and protocol.startswith(_BEARER):
            authorization = f"Bearer {protocol.removeprefix(_BEARER)}"
        if not project and protocol.startswith(_PROJECT):
            project = protocol.removeprefix(_PROJECT)
    return authorization, project


def _choosing(scope: Scope, send: Send) -> Send:
    """Answer our subprotocol, without which a browser that offers some closes the connection."""
    offered = scope.get("subprotocols", ())
    scope["subprotocols"] = [each for each in offered if not each.startswith((_BEARER, _PROJECT))]

    async def sending(message: Message) -> None:
        if message["type"] == "websocket.accept" and _PROTOCOL in offered:
            message.setdefault("subprotocol", None)
            message["subprotocol"] = message["subprotocol"] or _PROTOCOL
        await send(message)

    return sending
