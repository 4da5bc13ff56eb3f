"""Tar streams: what tarfile writes is read, and what nobody writes is refused."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncGenerator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.domain.guest import FileKind
from aetherium.sources.tarstream import END, BrokenArchive, Entry, TarStream, hard_link, header


async def pieces(data: bytes, size: int = 1000) -> AsyncGenerator[bytes, None]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def read(data: bytes, size: int = 1000) -> list[tuple[Entry, bytes]]:
    stream = TarStream(pieces(data, size))
    return [(entry, b"".join([piece async for piece in stream.content()])) async for entry in stream]


def archive(fill: Callable[[tarfile.TarFile], None], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        fill(tar)
    return out.getvalue()


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("size", [1, 511, 512, 100_000])
async def test_what_tarfile_writes(form: int, size: int) -> None:
    long = "/".join(["d" * 40] * 4) if form == tarfile.USTAR_FORMAT else "/".join(["d" * 90] * 20)

    def fill(tar: tarfile.TarFile) -> None:
        add(tar, "a", b"hello", mode=0o755, mtime=1234)
        add(tar, long, b"x" * 1025)
        add(tar, "dir", type=tarfile.DIRTYPE)
        add(tar, "link", type=tarfile.SYMTYPE, linkname="../" + "y" * 90)
        add(tar, "same", type=tarfile.LNKTYPE, linkname="a")
        add(tar, "pipe", type=tarfile.FIFOTYPE)
        add(tar, "after", b"end")

    found = await read(archive(fill, form), size)
    kinds = [(entry.name, entry.kind, entry.hard_link, data) for entry, data in found]
    assert kinds == [
        ("a", FileKind.FILE, False, b"hello"),
        (long, FileKind.FILE, False, b"x" * 1025),
        ("dir", FileKind.DIRECTORY, False, b""),
        ("link", FileKind.SYMLINK, False, b""),
        ("same", FileKind.FILE, True, b""),
        ("pipe", FileKind.OTHER, False, b""),
        ("after", FileKind.FILE, False, b"end"),
    ]
    assert (found[0][0].mode, found[0][0].mtime) == (0o755, 1234)
    assert (found[3][0].target, found[4][0].target) == ("../" + "y" * 90, "a")


async def test_names_that_are_no_text() -> None:
    name = "\udcff\n \"'\\ö"
    found = await read(header(name, FileKind.FILE, mode=0o644) + hard_link("x", name) + END)
    assert [entry.name for entry, _ in found] == [name, "x"]
    assert found[1][0].target == name


async def test_what_is_not_read_is_skipped() -> None:
    def fill(tar: tarfile.TarFile) -> None:
        add(tar, "a", b"x" * 5000)
        add(tar, "b", b"y")

    data = archive(fill)
    assert [entry.name async for entry in TarStream(pieces(data))] == ["a", "b"]


def _sparse(tar: tarfile.TarFile) -> None:
    add(tar, "s", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s"})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b"nonsense" * 100,
        header("a", FileKind.FILE, mode=0o644, size=10),
        header("a", FileKind.FILE, mode=0o644, size=10) + b"short",
        header("a", FileKind.FILE, mode=0o644),
        archive(_sparse),
    ],
)
async def test_broken_streams(data: bytes) -> None:
    with pytest.raises(BrokenArchive):
        await read(data)


async def test_a_huge_header_is_not_kept() -> None:
    """A gigabyte of pax header: refused at once, and not gathered first."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30

    async def endless() -> AsyncGenerator[bytes, None]:
        yield info.tobuf()
        pytest.fail("more was asked for")

    with pytest.raises(BrokenArchive, match="header of"):
        async for _ in TarStream(endless()):
            pass


@given(st.binary(max_size=3000), st.integers(1, 700))
async def test_any_bytes(data: bytes, size: int) -> None:
    try:
        await read(data, size)
    except BrokenArchive as error:
        assert error.message  # noqa: PT017 - either outcome is right


@given(st.binary(min_size=1, max_size=40), st.integers(0, 511), st.data())
async def test_damaged_headers(content: bytes, at: int, data: st.DataObject) -> None:
    whole = bytearray(header("n" * 150, FileKind.FILE, mode=0o644, size=len(content)))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << (at % 8)
    try:
        await read(bytes(whole) + content + bytes(-len(content) % 512) + END)
    except BrokenArchive as error:
        assert error.message  # noqa: PT017 - either outcome is right
