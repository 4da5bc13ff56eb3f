"""Who may call, by the settings."""

from __future__ import annotations

from dataclasses import dataclass

from aetherium.domain.errors import InvalidInput
from aetherium.interfaces.audit import Auditor
from aetherium.interfaces.clock import Clock
from aetherium.interfaces.rates import RateLimiter
from aetherium.interfaces.store import Store
from aetherium.services.identity.authentication import Authenticator
from aetherium.services.identity.jwks import KeySet, checked_issuer, fetch_json
from aetherium.services.identity.keys import KeyService
from aetherium.services.identity.members import MemberService
from aetherium.services.identity.tokens import TokenVerifier
from aetherium.settings import Settings


@dataclass(frozen=True, slots=True)
class Callers:
    """What knows callers."""

    keys: KeyService
    members: MemberService
    authenticator: Authenticator


def callers(settings: Settings, store: Store, auditor: Auditor, rates: RateLimiter, clock: Clock) -> Callers:
    """By API keys, and by tokens if the settings name a provider. Raises InvalidInput."""
    keys = KeyService(store, clock)
    return Callers(
        keys,
        MemberService(store, settings.oidc_issuer or ""),
        Authenticator(store, keys, _tokens(settings), auditor, rates),
    )


def _tokens(settings: Settings) -> TokenVerifier | None:
    if settings.oidc_issuer is None:
        return None
    if not settings.oidc_audience:
        raise InvalidInput(
            "The setting oidc_audience is missing: tokens for other services would be taken.",
            hint="Set it to what the provider writes into `aud` for this installation.",
            field="oidc_audience",
        )
    return TokenVerifier(
        settings.oidc_issuer,
        settings.oidc_audience,
        KeySet(checked_issuer(settings.oidc_issuer), fetch_json),
        admins=settings.oidc_admins,
        subject_claim=settings.oidc_subject_claim,
    )
