"""Connections that can be cut: uvicorn's protocols, each request of which knows how to end its connection.

Ending a request in the middle closes its connection only when all that was written has been read, so a client
that does not read would keep it for as long as it likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from starlette.types import Receive, Scope
    from websockets.http11 import Request

_ABORT = "aetherium.abort"


class CuttableHTTP(HttpToolsProtocol):
    """For ``uvicorn.Config(http=…)``."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._scope["extensions"] = {_ABORT: self.transport.abort}

    @property
    def _scope(self) -> Any:
        return self.scope


class CuttableWebSocket(WebSocketsSansIOProtocol):
    """For ``uvicorn.Config(ws=…)``."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:  # otherwise there is no scope
            extensions: Any = self.scope["extensions"]
            extensions[_ABORT] = self.transport.abort


async def cut(scope: Scope, receive: Receive) -> None:
    """End the connection of a request at once; what was not read yet is lost. A server that cannot do that
    closes it as soon as the client lets it."""
    abort = scope.get("extensions", {}).get(_ABORT)
    if abort is None:
        return
    abort()
    while not (await receive())["type"].endswith(".disconnect"):
        pass
