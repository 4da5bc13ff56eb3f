"""Masking of secrets in output."""

from __future__ import annotations

import base64
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.services.masking import Masker, masked, patterns

VALUE = "s3cr3t-Token/+ü%"


def pieces(data: bytes, cuts: list[int]) -> list[tuple[int, bytes]]:
    """`data` cut into chunks with their offsets."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [(low, data[low:high]) for low, high in pairwise(edges)]


def streamed(forms: tuple[bytes, ...], chunks: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """What a Masker gives out, the empty pieces left out."""
    masker = Masker(forms)
    out = [masker.feed(offset, data) for offset, data in chunks]
    return [piece for piece in (*out, masker.end()) if piece[1]]


@given(
    secrets=st.lists(st.text(alphabet="ab", min_size=3, max_size=7), min_size=1, max_size=4),
    text=st.text(alphabet="ab", max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_chunk_borders_make_no_difference(secrets: list[str], text: str, cuts: list[int]) -> None:
    forms, data = patterns(secrets), text.encode()
    out = streamed(forms, pieces(data, cuts))
    whole = b"".join(piece for _, piece in out)
    assert len(whole) == len(data)
    expected = bytearray(data)
    for form in forms:
        for at in range(len(data)):
            if data.startswith(form, at):
                expected[at : at + len(form)] = b"*" * len(form)
    assert whole == bytes(expected)
    assert [at for at, _ in out] == [sum(len(piece) for _, piece in out[:n]) for n in range(len(out))]


@given(text=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=8))
def test_without_secrets_nothing_changes_and_nothing_waits(text: bytes, cuts: list[int]) -> None:
    chunks = pieces(text, cuts)
    masker = Masker(())
    assert [masker.feed(*chunk) for chunk in chunks] == chunks


@pytest.mark.parametrize(
    "form",
    [
        VALUE.encode(),
        base64.b64encode(VALUE.encode()),
        base64.urlsafe_b64encode(VALUE.encode()),
        VALUE.encode().hex().encode(),
        b"s3cr3t-Token%2F%2B%C3%BC%25",
        b"s3cr3t-Token/+\\u00fc%",
    ],
)
def test_the_forms_that_programs_print_are_masked(form: bytes) -> None:
    out = masked(patterns([VALUE]), b"before " + form + b" after")
    assert out.startswith(b"before *")
    assert out.rstrip(b"=").endswith(b" after")
    assert form[2:-4] not in out
    assert len(out) == len(b"before  after") + len(form)


@pytest.mark.parametrize("before", range(4))
def test_base64_of_something_around_the_secret_is_masked(before: int) -> None:
    text = base64.b64encode(b"x" * before + b"password-of-the-day" + b"yz")
    out = masked(patterns(["password-of-the-day"]), text)
    shown = out.replace(b"*", b"")
    assert len(shown) <= 12
    assert out.count(b"*") >= 22


def test_each_line_of_a_key_is_masked() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ\n-----END KEY-----\n"
    out = masked(patterns([key]), b"line: MIIEvQIBADANBg\r\nkqhkiG9w0BAQ\r\n")
    assert out == b"line: **************\r\n************\r\n"


def test_only_a_possible_beginning_is_held_back() -> None:
    masker = Masker(patterns(["hunter22"]))
    assert masker.feed(0, b"login: hun") == (0, b"login: ")
    assert masker.feed(10, b"gry\n") == (7, b"hungry\n")
    assert masker.end() == (14, b"")


def test_after_a_gap_nothing_of_before_is_shown() -> None:
    masker = Masker(patterns(["hunter22"]))
    assert masker.feed(0, b"hunt") == (0, b"")
    assert masker.feed(100, b"er22 ok") == (100, b"er22 ok")


def test_short_values_are_left_alone() -> None:
    assert masked(patterns(["1", "", "ab"]), b"1 ab") == b"1 ab"
