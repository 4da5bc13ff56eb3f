"""Ranges of bytes, as RFC 9110 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.gateway.ranges import Span, parse_range


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=2-", Span(2, 10)),
        ("bytes=-3", Span(7, 10)),
        ("bytes=-30", Span(0, 10)),
        ("BYTES=4-100", Span(4, 10)),
        ("bytes=9-9", Span(9, 10)),
        ("bytes=10-", Span(10, 10)),
        ("bytes=10-20", Span(10, 10)),
        ("bytes=-0", Span(10, 10)),
    ],
)
def test_one_range_of_ten_bytes(header: str, span: Span) -> None:
    assert parse_range(header, 10) == span


@pytest.mark.parametrize(
    "header", ["", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b"]
)
def test_what_is_no_single_range_of_bytes_is_ignored(header: str) -> None:
    assert parse_range(header, 10) is None


@given(st.text(alphabet="bytes=0123456789-, ", max_size=30), st.integers(0, 100))
def test_no_range_goes_beyond_the_file(header: str, size: int) -> None:
    found = parse_range(header, size)
    assert found is None or 0 <= found.begin <= found.end <= size
