"""Files through gRPC, and what jobs have written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium.domain.errors import GuestError, InvalidInput, NotFound
from aetherium.domain.guest import FileEvent, FileKind
from aetherium.gateway.remote.guest import RemoteGuest
from tests.fixtures.proxy import Way
from tests.integration.rpc.conftest import WORKER_ID, Cluster

_DEADLINE_S = 20
JOB = "job_0000000000000000"


@pytest.fixture
async def guest(cluster: Cluster) -> AsyncIterator[RemoteGuest]:
    async with cluster.remote.vms.guest("box") as guest:
        yield guest


@pytest.fixture
def root(cluster: Cluster) -> str:
    """A directory that the guest sees."""
    path = cluster.data_dir / "root"
    path.mkdir()
    return str(path)


async def test_ten_megabytes_go_in_and_come_back(guest: RemoteGuest, root: str) -> None:
    data = os.urandom(10 << 20)
    stat = await guest.write(f"{root}/file", data, mode=0o600)
    assert (stat.size, stat.mode, stat.kind) == (len(data), 0o600, FileKind.FILE)
    assert b"".join([piece async for piece in guest.read(f"{root}/file")]) == data
    assert b"".join([piece async for piece in guest.read(f"{root}/file", offset=5, length=7)]) == data[5:12]
    await guest.write(f"{root}/file", b"new", offset=2)
    assert (Path(root) / "file").read_bytes()[:6] == data[:2] + b"new" + data[5:6]


async def test_entries_are_made_listed_moved_changed_and_removed(guest: RemoteGuest, root: str) -> None:
    await guest.mkdir(f"{root}/a/b")
    await guest.write(f"{root}/a/x", b"1")
    await guest.chmod(f"{root}/a/x", 0o640)
    assert (await guest.stat(f"{root}/a/x")).mode == 0o640
    await guest.move(f"{root}/a/x", f"{root}/a/y")
    assert [Path(stat.path).name for stat in await guest.list(f"{root}/a")] == ["b", "y"]
    await guest.remove(f"{root}/a", recursive=True)
    assert await guest.list(root) == []
    with pytest.raises(GuestError) as caught:
        await guest.stat(f"{root}/a")
    assert caught.value.details["errno"] == "ENOENT"


async def test_names_that_are_no_text_and_long_directories(guest: RemoteGuest, root: str) -> None:
    odd = f"{root}/\udcff\udc80"
    await guest.write(odd, b"odd")
    assert [stat.path for stat in await guest.list(root)] == [odd]
    assert b"".join([piece async for piece in guest.read(odd)]) == b"odd"
    for n in range(1200):
        (Path(root) / str(n)).touch()
    assert len(await guest.list(root)) == 1201


async def test_what_cannot_be_sent_is_bad_input(guest: RemoteGuest, root: str) -> None:
    with pytest.raises(InvalidInput):
        await guest.chmod(root, -1)
    with pytest.raises(InvalidInput):
        await guest.stat("\ud800")


async def test_a_refusal_in_the_middle_of_an_upload_is_told(guest: RemoteGuest, root: str) -> None:
    async def without_end() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    (Path(root) / "file").touch()
    for _ in range(20):
        async with asyncio.timeout(_DEADLINE_S):
            with pytest.raises(GuestError) as caught:
                await guest.write(f"{root}/file/below", without_end())
        assert caught.value.details["errno"] == "EEXIST"


async def test_a_source_that_fails_leaves_the_old_file(guest: RemoteGuest, root: str) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        raise RuntimeError("no more")

    await guest.write(f"{root}/file", b"old")
    with pytest.raises(RuntimeError, match="no more"):
        await guest.write(f"{root}/file", source())
    assert (Path(root) / "file").read_bytes() == b"old"


async def test_archives_go_out_and_in(guest: RemoteGuest, root: str) -> None:
    data = os.urandom(3 << 20)
    await guest.write(f"{root}/from/deep/file", data)
    await guest.write(f"{root}/from/left.out", b"")
    pieces = guest.archive_out(f"{root}/from", exclude=["*.out"])
    await guest.mkdir(f"{root}/to")
    await guest.archive_in(f"{root}/to", pieces)
    assert (Path(root) / "to/deep/file").read_bytes() == data
    assert not (Path(root) / "to/left.out").exists()


async def test_changes_are_seen(guest: RemoteGuest, root: str) -> None:
    async with asyncio.timeout(_DEADLINE_S), guest.watch(root) as events:
        await guest.write(f"{root}/file", b"", offset=0)
        assert await anext(events) == FileEvent("created", f"{root}/file")
    with pytest.raises(GuestError):
        async with guest.watch(f"{root}/nothing"):
            pass


async def test_a_slow_reader_holds_the_file_up(cluster: Cluster, guest: RemoteGuest, root: str) -> None:
    (Path(root) / "file").write_bytes(bytes(64 << 20))
    pieces = guest.read(f"{root}/file")
    await anext(pieces)
    for _ in range(20):  # what else goes over the same connection is not held up
        await guest.stat(root)
    assert cluster.proxy.traffic[Way.TO_CLIENT].bytes < 4 << 20
    await pieces.aclose()  # type: ignore[attr-defined]  # it is a generator


async def test_files_of_jobs_are_read_and_nothing_else(cluster: Cluster) -> None:
    directory = cluster.data_dir / "jobs" / JOB
    (directory / "logs").mkdir(parents=True)
    (directory / "logs/1").write_bytes(b"0123456789")
    (directory / "out").symlink_to("/etc/passwd")
    (directory.parent / "secret").write_bytes(b"secret")

    async def read(name: str, offset: int = 0) -> bytes:
        files = cluster.remote.job_files
        return b"".join([piece async for piece in files.read(WORKER_ID, JOB, name, offset)])

    assert await read("logs/1") == b"0123456789"
    assert await read("logs/1", 4) == b"456789"
    assert await read("logs/1", 100) == b""
    for name in ("nothing", "../secret", "out", "/etc/passwd", "a\0b"):
        with pytest.raises(NotFound):
            await read(name)
    with pytest.raises(InvalidInput):
        async for _ in cluster.remote.job_files.read(WORKER_ID, "..", "secret"):
            pass
