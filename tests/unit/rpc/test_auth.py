"""The token."""

from __future__ import annotations

import pytest

from aetherium.domain.errors import InvalidInput
from aetherium.rpc.auth import allows, credentials

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105  # of these tests


def test_the_token_is_let_in() -> None:
    assert allows(TOKEN, [("user-agent", "x"), *credentials(TOKEN)])


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "")],
        [("authorization", TOKEN)],
        [("authorization", f"Bearer {TOKEN[:-1]}")],
        [("authorization", f"Bearer {TOKEN}x")],
        [("authorization", f"bearer {TOKEN}")],
        [("authorization", "Bearer \u00e9")],
        [("authorization", b"\xff")],
        [("x-authorization", f"Bearer {TOKEN}")],
        [*credentials(TOKEN), *credentials(TOKEN)],
    ],
)
def test_anything_else_is_not(metadata: list[tuple[str, str | bytes]]) -> None:
    assert not allows(TOKEN, metadata)


@pytest.mark.parametrize("token", ["", "short", "\u00e9" * 40, "with a\nnewline" * 3])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="token"):
        credentials(token)
