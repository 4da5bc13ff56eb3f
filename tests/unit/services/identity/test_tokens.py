"""Tokens of a provider: which are taken, and what happens when it rotates its keys or is away."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from aetherium.domain.errors import InvalidInput, Unauthenticated, Unavailable
from aetherium.services.identity.jwks import (
    ASK_S,
    FRESH_S,
    LAST_S,
    KeySet,
    checked_issuer,
    fetch_json,
)
from aetherium.services.identity.tokens import TokenVerifier
from tests.fixtures import oidc
from tests.fixtures.oidc import AUDIENCE, Provider, as_jwk, private_key
from tests.unit.services.identity.conftest import Seconds


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def tokens(provider: Provider, seconds: Seconds) -> TokenVerifier:
    return verifier(provider, seconds)


def verifier(provider: Provider, seconds: Seconds, **changes: Any) -> TokenVerifier:
    keys = KeySet(provider.issuer, provider.fetch, seconds)
    return TokenVerifier(provider.issuer, AUDIENCE, keys, **{"admins": (), **changes})


def forged(header: Any, claims: Mapping[str, Any] | None = None) -> str:
    """Whatever it is, with a signature of nothing."""
    text = header if isinstance(header, str) else json.dumps(header)
    parts = (text.encode(), json.dumps(claims or {}).encode(), b"nothing")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "EdDSA"])
async def test_a_token_of_the_provider_is_taken(
    tokens: TokenVerifier, provider: Provider, algorithm: str
) -> None:
    person = await tokens.verify(provider.token(algorithm=algorithm))
    assert (person.subject, person.admin) == (f"oidc:{provider.issuer}#ada", False)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"exp": "never"},
        {"exp": []},
        {"nbf": 1 << 33},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "others"},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "x" * 250},
    ],
    ids=str,
)
async def test_claims_that_do_not_hold_are_refused(
    tokens: TokenVerifier, provider: Provider, claims: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        await tokens.verify(provider.token(**claims))


async def test_clocks_may_differ_a_little(tokens: TokenVerifier, provider: Provider) -> None:
    now = int(time.time())
    await tokens.verify(provider.token(exp=now - 20, nbf=now + 20))
    for token in (provider.token(exp=now - 40), provider.token(nbf=now + 50)):
        with pytest.raises(Unauthenticated):
            await tokens.verify(token)


@pytest.mark.parametrize(
    "headers",
    [
        {"alg": "none", "kid": "RS256"},
        {"alg": "HS256", "kid": "RS256"},
        {"alg": "RS256"},
        {"alg": ["RS256"], "kid": "RS256"},
        {"alg": "RS256", "kid": {}},
        {"alg": "ES256", "kid": "RS256"},
        {"alg": "RS256", "kid": "RS256", "typ": "logout+jwt"},
        {"alg": "RS256", "kid": "RS256", "crit": ["x"]},
        [],
        "[" * 5000,
    ],
    ids=lambda value: str(value)[:40],
)
async def test_forged_headers_are_refused(tokens: TokenVerifier, headers: Any) -> None:
    with pytest.raises(Unauthenticated):
        await tokens.verify(forged(headers, {"sub": "ada"}))


async def test_a_public_key_is_no_secret_to_sign_with(tokens: TokenVerifier, provider: Provider) -> None:
    """The classic: the provider's RSA key, taken for the secret of an HMAC."""
    secret = provider.jwks[0]["n"]
    claims = {"iss": provider.issuer, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 60}
    token = jwt.encode(claims, secret, algorithm="HS256", headers={"kid": "RS256"})
    with pytest.raises(Unauthenticated):
        await tokens.verify(token)


async def test_a_key_of_another_curve_or_owner_is_refused(tokens: TokenVerifier, provider: Provider) -> None:
    for algorithm, kid, key in (
        ("ES384", "ES256", private_key("ES384")),
        ("RS256", "RS256", private_key("RS256", 1)),
    ):
        with pytest.raises(Unauthenticated):
            await tokens.verify(provider.token(algorithm=algorithm, key=key, headers={"kid": kid}))


@pytest.mark.parametrize("change", [{"use": "enc"}, {"alg": "PS256"}, {"key_ops": ["sign"]}, {"d": "x"}])
async def test_keys_for_something_else_verify_nothing(
    tokens: TokenVerifier, provider: Provider, change: dict[str, Any]
) -> None:
    provider.jwks = [as_jwk(private_key("RS256"), "RS256", **change)]
    with pytest.raises(Unauthenticated):
        await tokens.verify(provider.token())


async def test_a_short_key_verifies_nothing(tokens: TokenVerifier, provider: Provider) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - that is the point
    provider.jwks = [as_jwk(short, "RS256")]
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = provider.token(key=short)
    with pytest.raises(Unauthenticated):
        await tokens.verify(token)


async def test_a_new_key_is_found_but_not_looked_for_all_the_time(
    tokens: TokenVerifier, provider: Provider, seconds: Seconds
) -> None:
    await tokens.verify(provider.token())
    provider.jwks = [as_jwk(private_key("RS256"), "new")]
    token = provider.token(headers={"kid": "new"})
    asked = len(provider.asked)
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await tokens.verify(token)
    assert len(provider.asked) == asked
    seconds.at += ASK_S
    await tokens.verify(token)
    with pytest.raises(Unauthenticated):
        await tokens.verify(provider.token())


async def test_a_withdrawn_key_is_forgotten(
    tokens: TokenVerifier, provider: Provider, seconds: Seconds
) -> None:
    token = provider.token(exp=int(time.time()) + 9999)
    await tokens.verify(token)
    provider.jwks = []
    seconds.at += FRESH_S + 1
    with pytest.raises(Unauthenticated):
        await tokens.verify(token)


async def test_the_last_keys_serve_for_a_day_while_the_provider_is_away(
    tokens: TokenVerifier, provider: Provider, seconds: Seconds
) -> None:
    await tokens.verify(provider.token())
    provider.away = True
    seconds.at += LAST_S - 1
    await tokens.verify(provider.token())
    seconds.at += ASK_S
    with pytest.raises(Unavailable):
        await tokens.verify(provider.token())
    provider.away = False
    seconds.at += ASK_S
    await tokens.verify(provider.token())


async def test_a_provider_that_describes_another_one_is_not_believed(
    tokens: TokenVerifier, provider: Provider
) -> None:
    described = provider.documents[f"{provider.issuer}/.well-known/openid-configuration"]
    for change in ({"issuer": "https://evil.example"}, {"jwks_uri": "http://keys.example/keys"}):

        async def fetch(_: str, change: dict[str, str] = change) -> Any:
            return {**described, **change}

        strange = TokenVerifier(provider.issuer, AUDIENCE, KeySet(provider.issuer, fetch), admins=())
        with pytest.raises(Unavailable):
            await strange.verify(provider.token())


@pytest.mark.parametrize(
    ("admin", "claims", "is_admin"),
    [
        ("ada", {}, True),
        ("bob", {}, False),
        ("groups=ops", {"groups": ["dev", "ops"]}, True),
        ("groups=ops", {"groups": "ops"}, True),
        ("groups=ops", {"groups": ["ops2"]}, False),
        ("groups=ops", {}, False),
        ("email=ada@example.org", {"email": "ada@example.org"}, False),
        ("email=ada@example.org", {"email": "ada@example.org", "email_verified": True}, True),
    ],
)
async def test_who_administers_the_installation(
    provider: Provider, seconds: Seconds, admin: str, claims: dict[str, Any], is_admin: bool
) -> None:
    tokens = verifier(provider, seconds, admins=(admin,))
    assert (await tokens.verify(provider.token(**claims))).admin is is_admin


async def test_another_claim_may_say_who_it_is(provider: Provider, seconds: Seconds) -> None:
    tokens = verifier(provider, seconds, subject_claim="email")
    address: dict[str, Any] = {"email": "ada@example.org"}
    with pytest.raises(Unauthenticated):
        await tokens.verify(provider.token(**address))
    person = await tokens.verify(provider.token(**address, email_verified=True))
    assert person.subject == f"oidc:{provider.issuer}#ada@example.org"


async def test_keys_come_over_http(seconds: Seconds) -> None:
    async with oidc.provider() as provider:
        keys = KeySet(provider.issuer, fetch_json, seconds)
        tokens = TokenVerifier(provider.issuer, AUDIENCE, keys, admins=())
        assert (await tokens.verify(provider.token())).subject.endswith("#ada")
        provider.away = True
        seconds.at += FRESH_S + 1
        await tokens.verify(provider.token())
        assert len(provider.asked) == 3


@pytest.mark.parametrize(
    "issuer", ["http://id.example", "ftp://id.example", "id.example", "", "http://localhost.evil.example"]
)
def test_keys_that_could_be_anybodys_are_refused(issuer: str) -> None:
    with pytest.raises(InvalidInput):
        checked_issuer(issuer)


@pytest.mark.parametrize(
    "issuer", ["https://id.example/realms/a", "http://127.0.0.1:8080", "http://[::1]", "http://localhost"]
)
def test_https_and_this_host_are_fine(issuer: str) -> None:
    assert checked_issuer(issuer) == issuer
