"""Digests of bodies."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.domain.errors import InvalidInput
from aetherium.gateway.digests import Checked, parse, show


async def _pieces(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@given(st.lists(st.binary(max_size=20)), st.sampled_from(["sha-256", "sha-512"]))
async def test_what_is_announced_passes_and_nothing_else(pieces: list[bytes], name: str) -> None:
    whole = b"".join(pieces)
    field = show(name, hashlib.new(name.replace("-", ""), whole).digest())
    data = Checked(_pieces(pieces), parse(field))
    assert b"".join([piece async for piece in data]) == whole
    assert data.sha256 == hashlib.sha256(whole).hexdigest()
    other = Checked(_pieces([*pieces, b"x"]), parse(field))
    with pytest.raises(InvalidInput) as caught:
        [piece async for piece in other]
    assert caught.value.details["actual"] == hashlib.new(name.replace("-", ""), whole + b"x").hexdigest()


def test_unknown_algorithms_are_passed_over_beside_a_known_one() -> None:
    assert list(parse("md5=:AAAA:, sha-256=:AAAA:")) == ["sha-256"]
    assert parse("") == {}


@pytest.mark.parametrize("field", ["sha-256", "sha-256=AAAA", "sha-256=:A:", "md5=:AAAA:", "sha-256=:ä:"])
def test_a_digest_that_cannot_be_checked_is_refused(field: str) -> None:
    with pytest.raises(InvalidInput):
        parse(field)
