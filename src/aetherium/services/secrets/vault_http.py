"""HTTP to a HashiCorp Vault: log in, ask, and turn its errors into ours.

After Vault's HTTP API documentation: "HTTP API" (tokens, errors, status codes), "AppRole auth method" and
"Token auth method" (login, renew-self). Lists are asked for with ``?list=true``, for many HTTP libraries do
not know the method LIST.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from aetherium.domain.errors import InvalidInput, Unavailable

_PATIENCE_S = 10.0
_FORBIDDEN, _MISSING, _BAD = 403, 404, 400
# A token is renewed when this share of its lease is over, so that a Vault that is away may come back.
_RENEWED_AT = 2 / 3
# It is not used in its last seconds: it could run out on its way.
_MARGIN_S = 2.0


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """Where a Vault is, and as whom to come.

    Args:
        token: used as it is; None: log in with `role_id` and `secret_id`.
        ca: certificates of who signs the server's; None: the system's.

    Raises InvalidInput.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    role_id: str | None = None
    secret_id: str | None = field(default=None, repr=False)
    ca: Path | None = None

    def __post_init__(self) -> None:
        if self.token is None and (self.role_id is None or self.secret_id is None):
            raise InvalidInput(
                "Nothing says as whom to come to Vault.",
                hint="Set vault_token, or vault_role_id and vault_secret_id.",
                field="vault_token",
            )
        place = urlsplit(self.url)
        if place.scheme != "https" and not (place.scheme == "http" and _is_loopback(place.hostname)):
            raise InvalidInput(
                f"The setting vault_url is {self.url!r}.",
                hint="Give https://HOST:PORT; without TLS everybody on the way could read the secrets.",
                field="vault_url",
            )


class BadRequest(Exception):
    """Vault refused what was sent as it stands, for example for a check-and-set that came too late."""


class VaultHTTP:
    """Requests with a token that is fetched and renewed when needed. Raises Unavailable.

    Args:
        now: seconds that pass.
    """

    def __init__(
        self, access: VaultAccess, http: httpx2.AsyncClient, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._access = access
        self._http = http
        self._now = now
        self._token = access.token or ""
        self._renew_at = self._ends_at = float("inf") if access.token else 0.0
        self._lock = asyncio.Lock()

    async def ask(self, method: str, path: str, body: Any = None) -> Mapping[str, Any] | None:
        """The answer, empty if it has no body; None if nothing is there. Raises BadRequest."""
        token = await self._current()
        answer = await self._send(method, path, body, token)
        if answer.status_code == _FORBIDDEN and self._access.token is None:
            await self._forget(token)  # revoked, or Vault was restored: another one may do
            answer = await self._send(method, path, body, await self._current())
        return _read(answer, path)

    async def _current(self) -> str:
        """A token that is good for a while."""
        async with self._lock:
            if self._now() >= self._renew_at and not (self._now() < self._ends_at and await self._renewed()):
                await self._log_in()
            return self._token

    async def _log_in(self) -> None:
        body = {"role_id": self._access.role_id, "secret_id": self._access.secret_id}
        answer = await self._send("POST", "auth/approle/login", body, "")
        try:
            found = _read(answer, "auth/approle/login")
        except BadRequest as error:
            raise Unavailable(
                "Vault knows no such AppRole.", hint="See vault_role_id and vault_secret_id."
            ) from error
        self._take((found or {}).get("auth"))

    async def _renewed(self) -> bool:
        answer = await self._send("POST", "auth/token/renew-self", {}, self._token)
        if answer.status_code != httpx2.codes.OK:
            return False
        self._take(answer.json().get("auth"))
        return True

    async def _forget(self, token: str) -> None:
        async with self._lock:
            if self._token == token:
                self._renew_at = self._ends_at = 0.0

    def _take(self, auth: Mapping[str, Any] | None) -> None:
        if not auth or "client_token" not in auth:
            raise Unavailable("Vault's answer to the login has no token.", hint="Is vault_url a Vault?")
        lease = float(auth.get("lease_duration") or 0) or float("inf")
        self._token = str(auth["client_token"])
        self._ends_at = self._now() + lease - _MARGIN_S
        self._renew_at = self._now() + lease * _RENEWED_AT if auth.get("renewable") else self._ends_at

    async def _send(self, method: str, path: str, body: Any, token: str) -> httpx2.Response:
        headers = {"X-Vault-Request": "true"}
        if token:
            headers["X-Vault-Token"] = token
        try:
            return await self._http.request(method, f"/v1/{path}", json=body, headers=headers)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Unavailable(
                f"Vault at {self._access.url} does not answer: {type(error).__name__}.",
                hint="See vault_url, vault_ca, and whether it runs.",
            ) from error


@asynccontextmanager
async def open_http(access: VaultAccess) -> AsyncIterator[VaultHTTP]:
    """A pool of connections. Raises InvalidInput (`ca`)."""
    verify = await asyncio.to_thread(_trust, access.ca)
    async with httpx2.AsyncClient(base_url=access.url, timeout=_PATIENCE_S, verify=verify) as http:
        yield VaultHTTP(access, http)


def _trust(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(
            f"The certificates in {str(ca)!r} cannot be used: {error}.", field="vault_ca"
        ) from error


def _read(answer: httpx2.Response, path: str) -> Mapping[str, Any] | None:
    """What an answer says. Its errors are not repeated: they may hold what was sent."""
    status = answer.status_code
    if status == _MISSING:
        return None
    if status == _BAD:
        raise BadRequest
    if status == _FORBIDDEN:
        raise Unavailable(
            f"Vault does not let us at {path!r}.",
            hint="See its policies, and that the token has not expired.",
            status=status,
        )
    if not answer.is_success:
        sealed = (
            " It is sealed, or down for maintenance." if status == httpx2.codes.SERVICE_UNAVAILABLE else ""
        )
        raise Unavailable(f"Vault answered with status {status}.{sealed}", hint="Try again.", status=status)
    if not answer.content:
        return {}
    try:
        found = answer.json()
    except ValueError as error:
        raise Unavailable("Vault's answer is no JSON.", hint="Is vault_url a Vault?") from error
    if not isinstance(found, dict):
        raise Unavailable("Vault's answer is no object.", hint="Is vault_url a Vault?")
    return found


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
