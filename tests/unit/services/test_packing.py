"""Directories as streams: what comes back is what went, holes are holes, and what is damaged is refused."""

from __future__ import annotations

import asyncio
import os
import struct
import tempfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherium.domain.errors import Unavailable, VMFailed
from aetherium.services.packing import packed, unpack

MIB = 1 << 20
BEGIN = b"aetherium files 1\n"
# Where and how much of what is written to a file of at most 4 MiB.
Writes = list[tuple[int, int, int]]
_WRITE = st.tuples(st.integers(0, 4 * MIB), st.integers(1, 2 * MIB), st.integers(0, 255))
_FILES = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9.-]{0,8}", fullmatch=True), st.lists(_WRITE, max_size=4), max_size=3
)


def write(directory: Path, files: dict[str, Writes]) -> None:
    directory.mkdir()
    for name, writes in files.items():
        with (directory / name).open("xb") as file:
            for offset, length, byte in writes:
                os.pwrite(file.fileno(), bytes([byte]) * length, offset)


def read(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mode, path.read_bytes()) for path in directory.iterdir()}


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def stream(directory: Path) -> bytes:
    return b"".join([record async for record in packed(directory)])


@settings(max_examples=25, deadline=None)
@given(_FILES, st.integers(1, 3 * MIB))
def test_files_come_back_however_they_are_cut(files: dict[str, Writes], size: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        there, back = Path(root, "there"), Path(root, "back")
        write(there, files)

        async def through() -> None:
            data = await stream(there)
            await unpack(pieces(data, max(size, len(data) // 1000)), back)

        asyncio.run(through())
        assert read(back) == read(there)


async def test_holes_cost_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    sparse = tmp_path / "there" / "memory"
    with sparse.open("xb") as file:
        file.truncate(1 << 30)
        os.pwrite(file.fileno(), b"here", 512 * MIB)
    data = await stream(tmp_path / "there")
    assert len(data) < MIB
    await unpack(pieces(data, MIB), tmp_path / "back")
    back = (tmp_path / "back" / "memory").stat()
    assert (back.st_size, back.st_blocks) == (1 << 30, sparse.stat().st_blocks)


async def test_links_become_copies_and_modes_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "layer").write_bytes(b"layer")
    (tmp_path / "layer").chmod(0o640)
    os.link(tmp_path / "layer", tmp_path / "there" / "disk-0")
    await unpack(pieces(await stream(tmp_path / "there"), MIB), tmp_path / "back")
    found = (tmp_path / "back" / "disk-0").stat()
    assert (found.st_mode & 0o777, found.st_nlink) == (0o640, 1)
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o700


async def test_every_byte_counts(tmp_path: Path) -> None:
    """Whatever is cut off is missed; whatever is changed in the bytes of a file is noticed."""
    write(tmp_path / "there", {"one": [(0, 100, 7)], "two": [(50, 10, 8)]})
    data = await stream(tmp_path / "there")
    for end in range(len(data)):
        with pytest.raises(VMFailed, match="too early"):
            await unpack(pieces(data[:end], MIB), tmp_path / f"cut-{end}")
    at = data.index(bytes([7]) * 100)
    with pytest.raises(VMFailed, match="bytes are wrong"):
        await unpack(pieces(data[:at] + b"x" + data[at + 1 :], MIB), tmp_path / "flipped")


def a_file(name: bytes, size: int = 10) -> bytes:
    return b"F" + struct.pack(">IQH", 0o600, size, len(name)) + name


def some_data(offset: int, data: bytes) -> bytes:
    return b"D" + struct.pack(">QII", offset, len(data), zlib.crc32(data)) + data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"something else altogether", "no such stream"),
        (BEGIN + b"X", "no record"),
        (BEGIN + some_data(0, b"x"), "no record"),
        (BEGIN + a_file(b"../up"), "name"),
        (BEGIN + a_file(b"/etc/passwd"), "name"),
        (BEGIN + a_file(b".."), "name"),
        (BEGIN + a_file(b""), "name"),
        (BEGIN + a_file(b"f\0"), "name"),
        (BEGIN + a_file(b"file") + some_data(10, b"x"), "beyond the end"),
        (BEGIN + a_file(b"file") + b"D" + struct.pack(">QII", 0, 1 << 30, 0), "too long"),
    ],
)
async def test_hostile_streams(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(VMFailed, match=why):
        await unpack(pieces(data, 7), tmp_path / "back")
    assert await asyncio.to_thread(lambda: {path.name for path in tmp_path.iterdir()}) <= {"back"}


async def test_one_file_twice(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="exists"):
        await unpack(pieces(BEGIN + a_file(b"a") + a_file(b"a") + b"E", MIB), tmp_path / "back")


async def test_what_is_not_there_cannot_be_packed(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        await stream(tmp_path / "nothing")
