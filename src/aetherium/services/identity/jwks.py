"""The public keys of an OpenID Connect provider (OpenID Connect Discovery 1.0, RFC 7517)."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from aetherium.domain.errors import InvalidInput, Unavailable

log = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[Any]]

# A key that the provider has withdrawn is taken for so long at most, as long as the provider answers.
FRESH_S = 600.0
# An unknown key lets us ask anew, but not more often: tokens that name one cost nothing to make.
ASK_S = 30.0
# So long the last keys serve while the provider is away.
LAST_S = 86_400.0
_PATIENCE_S = 5.0
_LARGEST = 1 << 20
_SHORTEST_RSA = 2048
_KINDS = ("RSA", "EC", "OKP")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key.

    Args:
        kind: ``RSA``, or the curve.
        algorithm: the only one that it is for; empty: any that fits.
    """

    kid: str
    kind: str
    algorithm: str
    key: Any


class KeySet:
    """The keys of one provider, fetched when they are needed.

    Args:
        now: seconds that pass.
    """

    def __init__(self, issuer: str, fetch: Fetch, now: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._now = now
        self._keys: Mapping[str, Sequence[PublicKey]] = {}
        self._fetched: float | None = None
        self._asked: float | None = None
        self._asking = asyncio.Lock()

    async def find(self, kid: str) -> Sequence[PublicKey]:
        """The keys of that id; empty: the provider has none. Raises Unavailable when nothing is known."""
        if self._age() > FRESH_S or kid not in self._keys:
            await self._renew(wait=kid not in self._keys or self._age() > LAST_S)
        if self._age() > LAST_S:
            raise Unavailable(
                f"The identity provider {self._issuer} does not answer, and its keys are not known.",
                hint="Try again, or use an API key.",
            )
        return self._keys.get(kid, ())

    def _age(self) -> float:
        return float("inf") if self._fetched is None else self._now() - self._fetched

    async def _renew(self, *, wait: bool) -> None:
        """Ask the provider, unless that was done just now. Without `wait` not while others ask."""
        if self._asking.locked() and not wait:
            return
        async with self._asking:
            if self._asked is not None and self._now() - self._asked < ASK_S:
                return
            self._asked = self._now()
            try:
                self._keys = await self._load()
                self._fetched = self._now()
            except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError, ValueError) as error:
                log.warning("The keys of %s cannot be fetched: %s", self._issuer, error or "no answer")

    async def _load(self) -> Mapping[str, Sequence[PublicKey]]:
        where = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        found = await self._fetch(where)
        if not isinstance(found, dict) or found.get("issuer") != self._issuer:
            raise ValueError(f"{where} describes another issuer")
        address = found.get("jwks_uri")
        if not isinstance(address, str) or not trustworthy(address):
            raise ValueError(f"the jwks_uri {address!r} is not https")
        return _usable(await self._fetch(address))


def trustworthy(url: str) -> bool:
    """Whether nobody on the way can change what comes from there: https, or this host."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and loopback(parts.hostname or ""))
    )


def loopback(host: str) -> bool:
    """Whether it is this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def checked_issuer(issuer: str) -> str:
    """Raises InvalidInput for one whose keys could be anybody's."""
    if not trustworthy(issuer):
        raise InvalidInput(
            f"The setting oidc_issuer is {issuer!r}.", hint="Give an address with https.", field="oidc_issuer"
        )
    return issuer


async def fetch_json(url: str) -> Any:
    """What is found there; redirects are not followed. Raises httpx2.HTTPError, TimeoutError, ValueError."""
    async with asyncio.timeout(_PATIENCE_S), httpx2.AsyncClient() as client, client.stream("GET", url) as got:
        if got.status_code != httpx2.codes.OK:
            raise ValueError(f"{url} answers with {got.status_code}")
        body = b""
        async for piece in got.aiter_bytes():
            body += piece
            if len(body) > _LARGEST:
                raise ValueError(f"{url} has more than {_LARGEST} bytes")
    return json.loads(body)


def _usable(document: Any) -> Mapping[str, Sequence[PublicKey]]:
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("the provider's key set cannot be read")  # noqa: TRY004 - its content, not a type
    found: dict[str, list[PublicKey]] = {}
    for item in listed:
        key = _key(item)
        if key is not None:
            found.setdefault(key.kid, []).append(key)
    return found


def _key(item: Any) -> PublicKey | None:
    """None for what verifies no signatures of ours: another use, a key that others know, one that is too
    short."""
    if not isinstance(item, dict) or item.get("kty") not in _KINDS or not isinstance(item.get("kid"), str):
        return None
    if "d" in item:
        return None
    operations = item.get("key_ops")
    if item.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations):
        return None
    try:
        key = jwt.PyJWK(item).key
    except jwt.PyJWTError:
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < _SHORTEST_RSA:
        return None
    return PublicKey(item["kid"], str(item.get("crv", item["kty"])), str(item.get("alg", "")), key)
