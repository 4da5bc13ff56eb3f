"""Where the files of snapshots are, and what is left of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aetherium.domain.errors import Conflict, Unavailable, VMFailed
from aetherium.domain.ids import SNAPSHOT, new_id
from aetherium.domain.snapshots import Snapshot, SnapshotState
from aetherium.domain.vms import Resources
from aetherium.objects.local import LocalObjects
from aetherium.services.snapshot_files import SnapshotFiles, key_of
from tests.fixtures.waiting import eventually

SNAP = Snapshot(
    new_id(SNAPSHOT),
    None,
    "vm_1",
    "fake",
    f"sha256:{'0' * 64}",
    Resources(),
    SnapshotState.READY,
    datetime(2026, 1, 1, tzinfo=UTC),
)


class Objects(LocalObjects):
    """Fails as often as it is told to, in the middle, and waits for `go`; counts what is read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.fails = self.reads = 0
        self.go = asyncio.Event()
        self.go.set()

    async def get(
        self, key: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        self.reads += 1
        await self.go.wait()
        fails, self.fails = self.fails > 0, self.fails - 1
        async for piece in super().get(key, offset=offset, length=length):
            yield piece[:40] if fails else piece
            if fails:
                raise Unavailable("The object store is down.")


def write(directory: Path, text: str) -> None:
    directory.mkdir(parents=True)
    (directory / "memory").write_text(text)


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "objects")


@pytest.fixture
async def there(tmp_path: Path, objects: Objects) -> SnapshotFiles:
    """Of the host that has made it, and shared it."""
    files = SnapshotFiles(tmp_path / "there", "own_1", objects)
    await asyncio.to_thread(write, files.directory(SNAP.id), "content")
    assert await files.share(SNAP.id)
    return files


@pytest.fixture
def here(tmp_path: Path, there: SnapshotFiles, objects: Objects) -> SnapshotFiles:
    """Of another host."""
    return SnapshotFiles(tmp_path / "here", "own_2", objects)


def left(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "here" / "forks").glob("*")]


async def test_who_has_it_does_not_fetch_it(there: SnapshotFiles, objects: Objects) -> None:
    async with there.use(SNAP) as directory:
        assert directory == there.directory(SNAP.id)
    assert directory.exists()
    assert objects.reads == 0


async def test_several_at_once_fetch_it_once(here: SnapshotFiles, objects: Objects, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        found = await asyncio.gather(*(stack.enter_async_context(here.use(SNAP)) for _ in range(4)))
        assert len(set(found)) == 1
        assert (found[0] / "memory").read_text() == "content"
        assert len(left(tmp_path)) == 1
    assert objects.reads == 1
    assert left(tmp_path) == []
    async with here.use(SNAP):
        pass
    assert objects.reads == 2


async def test_of_several_who_fail_each_tries(here: SnapshotFiles, objects: Objects, tmp_path: Path) -> None:
    objects.fails = 2

    async def used() -> str:
        async with here.use(SNAP) as directory:
            return (directory / "memory").read_text()

    found = await asyncio.gather(*(used() for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(each, Unavailable) for each in found) == 2
    assert found.count("content") == 2
    assert objects.reads == 3
    assert left(tmp_path) == []


async def test_who_gives_up_leaves_it_to_others(
    here: SnapshotFiles, objects: Objects, tmp_path: Path
) -> None:
    async def used() -> str:
        async with here.use(SNAP) as directory:
            return (directory / "memory").read_text()

    async def reading() -> bool:
        return objects.reads == 1

    objects.go.clear()
    first = asyncio.ensure_future(used())
    await eventually(reading)
    second = asyncio.ensure_future(used())
    first.cancel()
    await asyncio.wait([first])
    objects.go.set()
    assert await second == "content"
    assert (first.cancelled(), objects.reads) == (True, 2)
    assert left(tmp_path) == []


async def test_what_is_nowhere_or_damaged(here: SnapshotFiles, objects: Objects, tmp_path: Path) -> None:
    await objects.put(key_of(SNAP.id), b"something else, of some length")
    with pytest.raises(VMFailed, match="damaged"):
        async with here.use(SNAP):
            pass
    await objects.remove(key_of(SNAP.id))
    with pytest.raises(Conflict, match="neither here nor"):
        async with here.use(SNAP):
            pass
    assert left(tmp_path) == []


async def test_removing_leaves_nothing(there: SnapshotFiles, objects: Objects) -> None:
    await there.remove(SNAP.id)
    assert not there.directory(SNAP.id).exists()
    assert await objects.list("snapshots") == []
    await there.remove(SNAP.id)


async def test_a_host_alone_shares_nothing(tmp_path: Path) -> None:
    alone = SnapshotFiles(tmp_path / "alone", "own_1")
    assert not await alone.share(SNAP.id)
    async with alone.use(SNAP) as directory:
        assert directory == alone.directory(SNAP.id)
