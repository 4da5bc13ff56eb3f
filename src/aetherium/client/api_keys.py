"""API keys."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from aetherium.client import values
from aetherium.client.paging import collect
from aetherium.client.transport import Transport, quoted
from aetherium.domain.identity import APIKey, Role


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key that was made; its text, `secret`, is not seen again."""

    key: APIKey
    secret: str = field(repr=False)


class APIKeys:
    """``client.api_keys``. A `ref` is an id, a name, a key's prefix, or a unique prefix of an id."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def create(
        self,
        name: str,
        *,
        project: str = "",
        installation: bool = False,
        role: Role | None = None,
        scopes: Collection[str] | None = None,
        expires_in_s: float | None = None,
    ) -> IssuedKey:
        """A key of a project, empty: the caller's, by default an operator's; or of the installation's
        administrators."""
        body = {
            "name": name,
            "project": project,
            "installation": installation,
            "role": None if role is None else str(role),
            "scopes": None if scopes is None else sorted(scopes),
            "expires_in_s": expires_in_s,
        }
        return values.load(IssuedKey, await self._http.call("POST", "/v1/api-keys", body=body))

    async def list(self) -> Sequence[APIKey]:
        """Newest first."""
        return await collect(self._http, "/v1/api-keys", APIKey)

    async def get(self, ref: str) -> APIKey:
        """One key."""
        return values.load(APIKey, await self._http.call("GET", f"/v1/api-keys/{quoted(ref)}"))

    async def rotate(self, ref: str, *, grace_s: float = 86_400.0) -> IssuedKey:
        """Another key that may do the same; the old one is valid for `grace_s` yet."""
        path = f"/v1/api-keys/{quoted(ref)}/rotate"
        return values.load(IssuedKey, await self._http.call("POST", path, body={"grace_s": grace_s}))

    async def revoke(self, ref: str) -> APIKey:
        """It is valid no more."""
        return values.load(APIKey, await self._http.call("DELETE", f"/v1/api-keys/{quoted(ref)}"))
