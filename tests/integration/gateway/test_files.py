"""Files through the gateway: streams both ways, archives, watching, errors of the guest."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium.client.aio import AsyncClient
from aetherium.domain.errors import AetheriumError, GuestError
from aetherium.domain.guest import FileKind
from aetherium.domain.vms import VM


async def _pieces(total: int) -> AsyncIterator[bytes]:
    for start in range(0, total, 1 << 16):
        yield bytes([start >> 16 & 255]) * min(1 << 16, total - start)


async def test_write_read_stat_list_move_remove(client: AsyncClient, vm: VM, tmp_path: Path) -> None:
    files, there = client.files, tmp_path / "a" / "file"
    done = await files.write("box", str(there), _pieces(3 << 20), mode=0o640)
    assert (done.size, done.mode) == (3 << 20, 0o640)
    read = b"".join([piece async for piece in files.read("box", str(there))])
    assert read == b"".join([piece async for piece in _pieces(3 << 20)])
    part = b"".join([piece async for piece in files.read("box", str(there), offset=65535, length=2)])
    assert part == b"\0\1"
    await files.write("box", str(there), b"XY", offset=1)
    await files.chmod("box", str(there), 0o600)
    await files.move("box", str(there), str(tmp_path / "b"))
    assert [item.path.rpartition("/")[2] for item in await files.list("box", str(tmp_path))] == ["a", "b"]
    await files.mkdir("box", str(tmp_path / "c" / "d"))
    assert (await files.stat("box", str(tmp_path / "c"))).kind is FileKind.DIRECTORY
    await files.remove("box", str(tmp_path / "c"), recursive=True)
    with pytest.raises(GuestError) as caught:
        await files.stat("box", str(tmp_path / "c"))
    assert caught.value.details["errno"] == "ENOENT"


async def test_what_cannot_be_read_is_an_error_before_the_first_byte(
    client: AsyncClient, vm: VM, tmp_path: Path
) -> None:
    for stream in (client.files.read, client.files.archive_out):
        with pytest.raises(GuestError) as caught:
            await anext(stream("box", str(tmp_path / "none")))
        assert caught.value.details["errno"] == "ENOENT"


async def test_an_empty_file(client: AsyncClient, vm: VM, tmp_path: Path) -> None:
    await client.files.write("box", str(tmp_path / "empty"), b"")
    assert [piece async for piece in client.files.read("box", str(tmp_path / "empty"))] == []


async def test_archives(client: AsyncClient, vm: VM, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("x/y")
        entry.size = 2
        archive.addfile(entry, io.BytesIO(b"hi"))

    async def stream() -> AsyncIterator[bytes]:
        yield buffer.getvalue()

    await client.files.archive_in("box", str(tmp_path), stream())
    assert (tmp_path / "x" / "y").read_bytes() == b"hi"
    back = b"".join([piece async for piece in client.files.archive_out("box", str(tmp_path / "x"))])
    with tarfile.open(fileobj=io.BytesIO(back)) as archive:
        assert any(name.rpartition("/")[2] == "y" for name in archive.getnames())


async def test_an_upload_that_is_cut_leaves_the_old_file(client: AsyncClient, vm: VM, tmp_path: Path) -> None:
    there = tmp_path / "file"
    there.write_bytes(b"old")

    class Cut(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        yield b"new" * 100_000
        raise Cut

    with pytest.raises((Cut, AetheriumError)):
        await client.files.write("box", str(there), broken())
    assert there.read_bytes() == b"old"


async def test_changes_are_watched(client: AsyncClient, vm: VM, tmp_path: Path) -> None:
    async with asyncio.timeout(20), client.files.watch("box", str(tmp_path)) as events:
        (tmp_path / "new").write_bytes(b"")
        async for event in events:
            if event.path.endswith("new"):
                return
