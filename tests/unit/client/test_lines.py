"""Lines of JSON, however the network cuts them."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.client.transport import Transport, parsed
from aetherium.domain.errors import ChannelClosed, NotFound, Unavailable


async def _cut(data: bytes, places: list[int]) -> AsyncIterator[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    for begin, end in itertools.pairwise(edges):
        yield data[begin:end]


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.text())), st.lists(st.integers(0, 10_000)))
async def test_lines_survive_any_cut(values: list[dict[str, str]], places: list[int]) -> None:
    data = b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)
    assert [value async for value in parsed(_cut(data, places))] == values


async def test_an_error_line_is_raised_and_half_a_line_too() -> None:
    error = b'{"a":1}\n{"error":{"code":"not_found","detail":"There is none."}}\n'
    lines = parsed(_cut(error, []))
    assert await anext(lines) == {"a": 1}
    with pytest.raises(NotFound):
        await anext(lines)
    with pytest.raises(ChannelClosed):
        await anext(parsed(_cut(b'{"a":', [])))


async def test_nobody_there_is_unavailable(tmp_path: Path) -> None:
    transport = Transport(tmp_path / "none")
    with pytest.raises(Unavailable, match="none"):
        await transport.call("GET", "/healthz")
    await transport.close()
