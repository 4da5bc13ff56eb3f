"""Tokens of an OpenID Connect provider (JWT: RFC 7519; what to beware of: RFC 8725)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from aetherium.domain.errors import Unauthenticated
from aetherium.services.identity.jwks import KeySet, PublicKey
from aetherium.services.identity.members import subject_of

# Signatures that only the provider can make, and the kind of key, or curve, that makes them.
_ALGORITHMS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA",)),
    "ES256": ("P-256",),
    "ES384": ("P-384",),
    "ES512": ("P-521",),
    "EdDSA": ("Ed25519", "Ed448"),
}
# Others, logout tokens for example, say something else.
_TYPES = ("", "jwt", "at+jwt", "application/at+jwt")
# What reading one can raise; its JSON may be nested without end, its claims of any type.
_UNUSABLE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
_LEEWAY_S = 30
_LONGEST = 16 * 1024
_LONGEST_SUBJECT = 255


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a token is about.

    Args:
        subject: as in Caller.
        admin: administers the installation.
    """

    subject: str
    admin: bool


class TokenVerifier:
    """Verifies tokens of one issuer.

    Args:
        admins: subjects, or ``claim=value``, that administer the installation.
        subject_claim: the claim that says who it is.
    """

    def __init__(
        self, issuer: str, audience: str, keys: KeySet, *, admins: Sequence[str], subject_claim: str = "sub"
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._admins = admins
        self._subject_claim = subject_claim

    async def verify(self, token: str) -> Person:
        """Raises Unauthenticated, and Unavailable while the issuer's keys cannot be had."""
        try:
            claims = await self._claims(token)
            name = self._name(claims)
        except _UNUSABLE as error:
            raise Unauthenticated("The token is not valid.") from error
        return Person(subject_of(self._issuer, name), self._administers(name, claims))

    async def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > _LONGEST:
            raise ValueError("too long")
        header = jwt.get_unverified_header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS or not isinstance(kid, str):
            raise ValueError("no signature that is accepted")
        if str(header.get("typ", "")).lower() not in _TYPES:
            raise ValueError("a token of another kind")
        key = next((key for key in await self._keys.find(kid) if _fits(key, algorithm)), None)
        if key is None:
            raise ValueError("no such key")
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=[algorithm],
            issuer=self._issuer,
            audience=self._audience,
            leeway=_LEEWAY_S,
            options={"require": ["exp", "iss", "aud"]},
        )
        return claims

    def _name(self, claims: Mapping[str, Any]) -> str:
        value = claims.get(self._subject_claim)
        if not isinstance(value, str) or value not in _values(claims, self._subject_claim):
            raise ValueError("nobody is named")
        if not value or not value.isprintable() or len(subject_of(self._issuer, value)) > _LONGEST_SUBJECT:
            raise ValueError("the name cannot be used")
        return value

    def _administers(self, name: str, claims: Mapping[str, Any]) -> bool:
        for admin in self._admins:
            claim, equals, value = admin.partition("=")
            if admin == name or (equals and value in _values(claims, claim)):
                return True
        return False


def _fits(key: PublicKey, algorithm: str) -> bool:
    return key.kind in _ALGORITHMS[algorithm] and key.algorithm in ("", algorithm)


def _values(claims: Mapping[str, Any], claim: str) -> Sequence[str]:
    """The texts of a claim. An address that the provider has not verified is anybody's."""
    if claim == "email" and claims.get("email_verified") is not True:
        return ()
    value = claims.get(claim)
    listed = value if isinstance(value, list) else [value]
    return [item for item in listed if isinstance(item, str)]
