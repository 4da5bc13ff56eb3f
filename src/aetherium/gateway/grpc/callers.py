"""Who calls: an API key or a token in ``authorization``, or whoever may open the Unix socket.

``aetherium-project`` names the project, as the header of the same name does for REST; so does
``x-request-id`` give the request an id.
"""

from __future__ import annotations

import re
import secrets
from urllib.parse import unquote

from aetherium.domain.errors import AetheriumError
from aetherium.domain.identity import LOCAL, Caller
from aetherium.gateway.access import Known, Platform, Services
from aetherium.gateway.grpc.calls import Context, metadata_of
from aetherium.gateway.rates import Rates

_PEER = re.compile(r"ipv[46]:\[?(.*?)\]?:\d+")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Callers:
    """See `PlatformOf`. Raises what Authenticator raises, and RateLimited."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._known = Known()
        self._rates = Rates(services)

    async def __call__(self, context: Context) -> Platform:
        """The services as the caller has them."""
        caller = await self._caller(context)
        if caller.subject != LOCAL.subject:
            await self._rates.count(_uncounted(), caller)
        return Platform(self.services, caller, self._known)

    async def _caller(self, context: Context) -> Caller:
        given, authenticator = metadata_of(context), self.services.authenticator
        authorization, project = given.get("authorization", ""), given.get("aetherium-project", "")
        source, request_id = address(context.peer()), _request_id(given.get("x-request-id", ""))
        if not source and not authorization:
            return await authenticator.local(project, request_id)
        try:
            return await authenticator.caller(authorization, project, source, request_id)
        except AetheriumError:
            if source:
                await self._rates.count_address(_uncounted(), source)
            raise


def address(peer: str) -> str:
    """Of the client, as gRPC writes it; empty on a Unix socket."""
    if peer.startswith("unix:"):
        return ""
    found = _PEER.fullmatch(unquote(peer))
    return found[1] if found else peer


def _request_id(given: str) -> str:
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _uncounted() -> dict[str, object]:
    """What is left of a rate goes into an answer's headers, which a gRPC call does not have."""
    return {"state": {}}
