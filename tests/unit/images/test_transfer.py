"""Images between hosts, with files that are no images."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from aetherium.domain.errors import Conflict, ImageFailed, InvalidInput, NotFound, Unavailable
from aetherium.domain.images import Image, ImageProgress
from aetherium.images.blobs import BlobSource, LocalBlobs, ObjectBlobs, PeerBlobs, blob_key, manifest_key
from aetherium.images.manifest import sha256
from aetherium.images.shared import SharedImageStore
from aetherium.images.store import DiskImageStore
from aetherium.images.transfer import fetch, push, resolve, tag_key
from aetherium.interfaces.objects import ObjectStore
from aetherium.objects.local import LocalObjects
from aetherium.process import spawned
from tests.fixtures.waiting import eventually
from tests.unit.images.test_store import add

MIB = 1 << 20
LARGE = "x" * 3 * MIB
DEADLINE_S = 60.0


@pytest.fixture
def here(tmp_path: Path) -> DiskImageStore:
    return DiskImageStore(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> DiskImageStore:
    return DiskImageStore(tmp_path / "there")


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    return LocalObjects(tmp_path / "objects")


class Cut:
    """A source whose connection ends after so many bytes of each answer; keeps what it was asked for."""

    def __init__(self, source: BlobSource, after: int) -> None:
        self.source = source
        self.after = after
        self.asked: list[int] = []

    async def manifest(self, digest: str) -> bytes:
        return await self.source.manifest(digest)

    async def blob(self, digest: str, offset: int) -> AsyncGenerator[bytes, None]:
        self.asked.append(offset)
        sent = 0
        async for piece in self.source.blob(digest, offset):
            if sent + len(piece) > self.after:
                yield piece[: self.after - sent]
                raise Unavailable("The connection was cut.")
            sent += len(piece)
            yield piece


def left(store: DiskImageStore) -> list[str]:
    """What lies on its way, in KiB."""
    return [f"{path.stat().st_size >> 10}" for path in store.layout.incoming.glob("*")]


async def rootfs(store: DiskImageStore, image: Image) -> str:
    return (await store.manifest(image.digest)).rootfs


async def test_an_image_goes_through_the_object_store(
    here: DiskImageStore, there: DiskImageStore, objects: ObjectStore
) -> None:
    image = await add(here, LARGE, "base")
    steps: list[ImageProgress] = []
    assert await push(here, objects, "base", progress=steps.append) == image.digest
    assert {step.stage for step in steps} >= {"Pushing the root file system", "Pushing the kernel"}
    assert await resolve(objects, "base") == image.digest
    steps.clear()
    fetched = await fetch(there, ObjectBlobs(objects), image.digest, tags=["base"], progress=steps.append)
    assert fetched == replace(image, created_at=fetched.created_at)
    assert (await there.paths(image.digest)).rootfs.read_text() == f"rootfs {LARGE}"
    assert (await there.paths(image.digest)).rootfs.stat().st_mode & 0o777 == 0o444
    assert "Fetching the root file system" in {step.stage for step in steps}
    assert left(there) == []


async def test_an_image_comes_from_another_host(here: DiskImageStore, there: DiskImageStore) -> None:
    image = await add(here, LARGE)
    peer = PeerBlobs(LocalBlobs(here).open)
    assert (await fetch(there, peer, image.digest)).digest == image.digest
    assert (await there.paths(image.digest)).rootfs.read_text() == f"rootfs {LARGE}"


@pytest.mark.parametrize(
    "name", ["", "tags", "blobs/", "blobs/../../tags.json", "manifests/../lock", "blobs/" + "g" * 64]
)
async def test_another_host_gets_nothing_but_images(here: DiskImageStore, name: str) -> None:
    await add(here, "one")
    with pytest.raises(InvalidInput):
        await anext(LocalBlobs(here).open(name, 0))


async def test_what_another_host_has_not(here: DiskImageStore, there: DiskImageStore) -> None:
    for source in (LocalBlobs(here), PeerBlobs(LocalBlobs(here).open)):
        with pytest.raises(NotFound):
            await fetch(there, source, sha256(b"nothing"))


async def test_what_is_there_is_not_sent_again(here: DiskImageStore, objects: LocalObjects) -> None:
    one, two = await add(here, "one"), await add(here, "two")
    await push(here, objects, one.digest)
    before = {info.key: info for info in await objects.list("images/blobs")}
    await push(here, objects, two.digest)
    after = {info.key: info for info in await objects.list("images/blobs")}
    assert len(after) == len(before) + 1
    assert after | before == after  # not written again: their times are the same


async def test_refs(here: DiskImageStore, objects: ObjectStore) -> None:
    names = ["base", "team/tool:v1.2", "team/tool"]
    image = await add(here, "one", *names)
    for name in names:
        await push(here, objects, name)
    for ref in (*names, image.digest, image.digest[7:19], image.digest[:15]):
        assert await resolve(objects, ref) == image.digest
    for ref in ("none", "0" * 12, "team", "../x", "a/../b"):
        with pytest.raises(NotFound):
            await resolve(objects, ref)


async def test_a_tag_moves(here: DiskImageStore, objects: ObjectStore) -> None:
    for content in ("one", "two"):
        image = await add(here, content, "base")
        await push(here, objects, "base")
        assert await resolve(objects, "base") == image.digest


async def test_a_push_by_digest_leaves_the_tag(here: DiskImageStore, objects: ObjectStore) -> None:
    image = await add(here, "one", "base")
    await push(here, objects, image.digest)
    with pytest.raises(NotFound):
        await resolve(objects, "base")


async def test_a_damaged_image_is_not_pushed(here: DiskImageStore, objects: ObjectStore) -> None:
    image = await add(here, "one", "base")
    path = (await here.paths(image.digest)).rootfs
    path.chmod(0o600)
    path.write_text("rotten")
    with pytest.raises(ImageFailed, match="damaged on this host"):
        await push(here, objects, "base")
    with pytest.raises(NotFound):
        await objects.stat(blob_key(await rootfs(here, image)))
    with pytest.raises(NotFound):
        await resolve(objects, "base")


async def test_an_image_that_goes_while_it_is_pushed(here: DiskImageStore, objects: ObjectStore) -> None:
    image = await add(here, "one", "base")
    (await here.paths(image.digest)).kernel.unlink()
    with pytest.raises(Conflict, match="removed while"):
        await push(here, objects, "base")
    with pytest.raises(NotFound):
        await resolve(objects, "base")


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "empty"])
async def test_a_damaged_part_is_refused(
    here: DiskImageStore, there: DiskImageStore, objects: ObjectStore, damage: str
) -> None:
    image = await add(here, LARGE, "base")
    await push(here, objects, "base")
    data = f"rootfs {LARGE}".encode()
    wrong = {"flipped": b"R" + data[1:], "cut": data[:-1], "longer": data + b"x", "empty": b""}[damage]
    await objects.put(blob_key(await rootfs(here, image)), wrong)
    with pytest.raises(ImageFailed, match="damaged, or not whole"):
        await fetch(there, ObjectBlobs(objects), image.digest)
    assert left(there) == []
    assert await there.list() == []
    assert [*there.layout.blobs.iterdir()] == []


async def test_a_damaged_manifest_is_refused(
    here: DiskImageStore, there: DiskImageStore, objects: ObjectStore
) -> None:
    image = await add(here, "one")
    await push(here, objects, image.digest)
    await objects.put(manifest_key(image.digest), b"{}")
    with pytest.raises(ImageFailed, match="came damaged"):
        await fetch(there, ObjectBlobs(objects), image.digest)


async def test_a_manifest_that_names_paths_is_refused(
    here: DiskImageStore, there: DiskImageStore, objects: ObjectStore
) -> None:
    manifest = await here.manifest((await add(here, "one")).digest)
    for hostile in ("../../tags.json", "sha256:../lock", "sha256:" + "A" * 64, ""):
        data = replace(manifest, rootfs=hostile).encode()
        await objects.put(manifest_key(sha256(data)), data)
        with pytest.raises(ImageFailed, match="none that this version writes"):
            await fetch(there, ObjectBlobs(objects), sha256(data))


async def test_a_missing_part(here: DiskImageStore, there: DiskImageStore, objects: ObjectStore) -> None:
    image = await add(here, "one")
    await push(here, objects, image.digest)
    await objects.remove(blob_key(await rootfs(here, image)))
    with pytest.raises(NotFound):
        await fetch(there, ObjectBlobs(objects), image.digest)
    assert await there.list() == []


async def test_a_fetch_goes_on_where_it_was_cut(here: DiskImageStore, there: DiskImageStore) -> None:
    image = await add(here, LARGE)
    source = Cut(LocalBlobs(here), MIB)
    for _ in range(3):
        with pytest.raises(Unavailable):
            await fetch(there, source, image.digest)
        assert await there.list() == []
    assert (await fetch(there, source, image.digest)).digest == image.digest
    assert {MIB, 2 * MIB, 3 * MIB} <= set(source.asked)
    assert (await there.paths(image.digest)).rootfs.read_text() == f"rootfs {LARGE}"
    assert left(there) == []


async def test_a_wrong_begin_is_begun_again(here: DiskImageStore, there: DiskImageStore) -> None:
    """The machine went down before all of what was written had reached the disk."""
    image = await add(here, LARGE)
    (await there.expecting(await rootfs(here, image))).write_bytes(bytes(MIB))
    await fetch(there, LocalBlobs(here), image.digest)
    assert (await there.paths(image.digest)).rootfs.read_text() == f"rootfs {LARGE}"


async def test_many_at_once_fetch_each_part_once(here: DiskImageStore, there: DiskImageStore) -> None:
    one, two = await add(here, LARGE), await add(here, "two")
    source = Cut(LocalBlobs(here), 1 << 30)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(fetch(there, source, image.digest, tags=[f"tag-{number}"]))
            for number, image in enumerate([one, two] * 4)
        ]
    assert {task.result().digest for task in tasks} == {one.digest, two.digest}
    assert source.asked == [0] * 5  # two root file systems, and three parts that both have
    assert len((await there.get(one.digest)).tags) == 4


_FETCHER = """
import asyncio, sys
from pathlib import Path
from aetherium.images.blobs import LocalBlobs
from aetherium.images.store import DiskImageStore
from aetherium.images.transfer import fetch

class Hanging(LocalBlobs):
    async def blob(self, digest, offset):
        async for piece in super().blob(digest, offset):
            yield piece
            if digest == sys.argv[4]:
                print(digest, flush=True)
                await asyncio.Event().wait()

here, there = (DiskImageStore(Path(path)) for path in sys.argv[1:3])
asyncio.run(fetch(there, Hanging(here), sys.argv[3]))
"""


async def test_kill_9_of_who_fetches(here: DiskImageStore, there: DiskImageStore) -> None:
    """Another process waits for it, and goes on from what it has left."""
    image = await add(here, LARGE)
    large = await rootfs(here, image)
    argv = [
        sys.executable,
        "-c",
        _FETCHER,
        str(here.layout.root),
        str(there.layout.root),
        image.digest,
        large,
    ]
    source = Cut(LocalBlobs(here), 1 << 30)
    async with asyncio.timeout(DEADLINE_S), spawned(argv, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        assert await process.stdout.readline()
        waiting = asyncio.ensure_future(fetch(there, source, image.digest))

        async def begun() -> bool:
            return (await there.expecting(large)).stat().st_size > 0

        await eventually(begun)
        await there.prune()
        assert await begun()  # what is being fetched stays
        assert not waiting.done()
        process.kill()
        await waiting
    assert any(source.asked)
    assert (await there.paths(image.digest)).rootfs.read_text() == f"rootfs {LARGE}"


async def test_prune_removes_what_nobody_fetches(here: DiskImageStore, there: DiskImageStore) -> None:
    image = await add(here, LARGE)
    with pytest.raises(Unavailable):
        await fetch(there, Cut(LocalBlobs(here), MIB), image.digest)
    assert left(there)
    await there.prune()
    assert left(there) == []


async def test_a_full_disk_is_unavailable(
    here: DiskImageStore, there: DiskImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = await add(here, "one")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="No space"):
            await fetch(there, LocalBlobs(here), image.digest)
    await fetch(there, LocalBlobs(here), image.digest)


class TestSharedImageStore:
    """What a worker of a cluster sees."""

    async def test_a_tag_is_fetched(
        self, here: DiskImageStore, there: DiskImageStore, objects: ObjectStore
    ) -> None:
        image = await add(here, "one", "base")
        await push(here, objects, "base")
        steps: list[ImageProgress] = []
        shared = SharedImageStore(there, objects)
        assert await shared.list() == []
        assert (await shared.get("base", progress=steps.append)).digest == image.digest
        assert steps
        steps.clear()
        assert (await shared.get("base", progress=steps.append)).tags == ("base",)
        assert not steps
        assert [found.digest for found in await shared.list()] == [image.digest]
        assert (await shared.paths(image.digest)).rootfs.read_text() == "rootfs one"

    async def test_a_digest_and_its_begin_are_fetched(
        self, here: DiskImageStore, there: DiskImageStore, objects: ObjectStore
    ) -> None:
        image = await add(here, "one", "base")
        await push(here, objects, "base")
        shared = SharedImageStore(there, objects)
        assert (await shared.get(image.digest[7:19])).tags == ()
        await shared.remove(image.digest)
        assert (await shared.get(image.digest)).digest == image.digest

    async def test_the_clusters_tag_counts(
        self, here: DiskImageStore, there: DiskImageStore, objects: ObjectStore
    ) -> None:
        old, new = await add(there, "old", "base"), await add(here, "new", "base")
        shared = SharedImageStore(there, objects)
        assert (await shared.get("base")).digest == old.digest  # the cluster has none yet
        await push(here, objects, "base")
        assert (await shared.get("base")).digest == new.digest
        assert (await there.get("base")).digest == new.digest
        await push(there, objects, old.digest)
        await objects.put(tag_key("base"), old.digest.encode())
        assert (await shared.get("base")).tags == ("base",)
        assert (await there.get("base")).digest == old.digest

    async def test_an_object_store_that_is_down(self, there: DiskImageStore, tmp_path: Path) -> None:
        (tmp_path / "circle").symlink_to(tmp_path / "circle")
        shared = SharedImageStore(there, LocalObjects(tmp_path / "circle"))
        with pytest.raises(Unavailable):
            await shared.get("base")
        image = await add(there, "one", "base")
        assert (await shared.get("base")).digest == image.digest

    async def test_another_host_is_asked_first(
        self, here: DiskImageStore, there: DiskImageStore, objects: ObjectStore, tmp_path: Path
    ) -> None:
        image = await add(here, "one", "base")
        await push(here, objects, "base")
        await objects.remove_all("images/blobs")
        dead = LocalBlobs(DiskImageStore(tmp_path / "dead"))

        async def peers(_: str) -> list[BlobSource]:
            return [dead, PeerBlobs(LocalBlobs(here).open)]

        shared = SharedImageStore(there, objects, peers=peers)
        assert (await shared.get("base")).digest == image.digest

    async def test_what_nobody_has(self, there: DiskImageStore, objects: ObjectStore) -> None:
        shared = SharedImageStore(there, objects)
        for ref in ("base", sha256(b"nothing")):
            with pytest.raises(NotFound):
                await shared.get(ref)
