"""Rates as people write them."""

from __future__ import annotations

import pytest

from aetherium.domain.errors import InvalidInput
from aetherium.domain.rates import Rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/second", Rate(10, 1)),
        ("600/minute", Rate(600, 60)),
        ("1/hour", Rate(1, 3600)),
        ("5/day", Rate(5, 86400)),
    ],
)
def test_a_number_and_a_unit_are_a_rate(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize("text", ["", "10", "0/minute", "-1/minute", "10/fortnight", "1.5/second", "1/day\n"])
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(InvalidInput):
        Rate.parse(text)
