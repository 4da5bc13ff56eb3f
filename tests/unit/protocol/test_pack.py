"""Control values: a subset of MessagePack that no bytes can break."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.protocol.pack import MAX_DEPTH, PackError, pack, pack_list, unpack

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


@given(values.filter(lambda value: _depth(value) < MAX_DEPTH))
def test_round_trip(value: Any) -> None:
    assert unpack(pack(value)) == value


@given(st.binary(max_size=500))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    try:
        unpack(data)
    except PackError:
        return


@given(values.filter(lambda value: _depth(value) < MAX_DEPTH), st.data())
def test_cut_short(value: Any, data: st.DataObject) -> None:
    packed = pack(value)
    with pytest.raises(PackError):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


@given(st.lists(values.filter(lambda value: _depth(value) < MAX_DEPTH - 1), max_size=5))
def test_lists_of_packed_values(items: list[Any]) -> None:
    assert unpack(pack_list([pack(item) for item in items])) == items


@given(st.binary(max_size=50))
def test_file_names_that_are_no_text_survive(name: bytes) -> None:
    text = name.decode("utf-8", "surrogateescape")
    assert unpack(pack(text)).encode("utf-8", "surrogateescape") == name


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",  # never used
        b"\xdd\xff\xff\xff\xff",  # a list of 4 billion
        b"\xdf\xff\xff\xff\xff\xa1x",
        b"\xc6\xff\xff\xff\xff",  # 4 GiB of bytes
        b"\xdb\xff\xff\xff\xff",
        b"\x81\x01\x02",  # a number as key
        b"\x91" * 1000 + b"\xc0",  # nested a thousand deep
        b"\xc0\xc0",  # two values
        b"\xd4\x01\x00",  # an extension type
        b"\xa2\xed",
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(PackError):
        unpack(data)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, {1, 2}, object(), 1j])
def test_what_cannot_be_packed(value: Any) -> None:
    with pytest.raises(PackError):
        pack(value)


def test_too_deep_to_pack() -> None:
    value: Any = []
    for _ in range(MAX_DEPTH + 1):
        value = [value]
    with pytest.raises(PackError):
        pack(value)


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"\xe0", -32), (b"\xcc\xff", 255), (b"\xd1\x80\x00", -32768), (b"\xcf" + b"\xff" * 8, 2**64 - 1),
     (b"\xd9\x02hi", "hi"), (b"\xc4\x01x", b"x"), (b"\x93\x01\xc2\xc3", [1, False, True]),
     (b"\x81\xa1a\x01", {"a": 1})],
)  # fmt: skip
def test_short_forms_of_other_encoders(data: bytes, value: Any) -> None:
    assert unpack(data) == value
