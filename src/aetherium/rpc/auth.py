"""The cluster's shared secret with every call: ``authorization: Bearer <token>``."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from aetherium.domain.errors import InvalidInput

_KEY = "authorization"
_SCHEME = "Bearer "
# 128 random bits in base 64; less can be guessed.
_SHORTEST = 22

Metadata = tuple[tuple[str, str], ...]


def credentials(token: str) -> Metadata:
    """What a client sends. Raises InvalidInput for a token that is too short or that cannot be sent."""
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable():
        raise InvalidInput(
            "The cluster's token cannot be used.",
            hint=f"Use at least {_SHORTEST} random letters and digits, for example: openssl rand -hex 32",
            field="cluster_token",
        )
    return ((_KEY, _SCHEME + token),)


def allows(token: str, metadata: Iterable[tuple[str, str | bytes]]) -> bool:
    """Whether a call brings the token. Takes the same time for every wrong one."""
    wanted = (_SCHEME + token).encode()
    given = [value for key, value in metadata if key == _KEY]
    one = given[0] if len(given) == 1 else ""
    return hmac.compare_digest(wanted, one if isinstance(one, bytes) else one.encode())
