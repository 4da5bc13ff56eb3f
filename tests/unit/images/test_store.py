"""The store by itself, with files that are no images."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from aetherium.domain.errors import Conflict, ImageFailed, InvalidInput, NotFound
from aetherium.domain.images import Image
from aetherium.images.locks import Staging
from aetherium.images.manifest import Manifest, Platform, decode
from aetherium.images.store import DiskImageStore


@pytest.fixture
def store(tmp_path: Path) -> DiskImageStore:
    return DiskImageStore(tmp_path / "images")


async def add(store: DiskImageStore, content: str, *tags: str) -> Image:
    """An image whose four parts are small files."""
    async with store.staging() as staging:
        files = {name: staging / name for name in ("rootfs", "kernel", "initrd", "agent")}
        for name, path in files.items():
            path.write_text(f"{name} {content if name == 'rootfs' else ''}")

        def make(digests: Mapping[Path, str]) -> Manifest:
            digest = {name: digests[path] for name, path in files.items()}
            platform = Platform(digest["kernel"], digest["initrd"], digest["agent"], "quiet")
            return Manifest(digest["rootfs"], 7, platform, "amd64", "test")

        return await store.commit(files.values(), make, tags)


async def test_an_image_is_found_by_tag_digest_and_prefix(store: DiskImageStore) -> None:
    image = await add(store, "one", "first")
    for ref in ("first", image.digest, image.digest[7:19], image.digest[:15]):
        assert (await store.get(ref)).digest == image.digest
    paths = await store.paths(image.digest)
    assert paths.rootfs.read_text() == "rootfs one"
    assert paths.rootfs.stat().st_mode & 0o777 == 0o444
    assert paths.cmdline == "quiet"
    with pytest.raises(NotFound):
        await store.get("none")
    with pytest.raises(NotFound):
        await store.paths(f"sha256:{'0' * 64}")


async def test_the_same_content_is_one_image(store: DiskImageStore) -> None:
    first, second = await add(store, "one", "a"), await add(store, "one", "b")
    assert first.digest == second.digest
    assert second.tags == ("a", "b")
    assert len(await store.list()) == 1


async def test_a_tag_moves(store: DiskImageStore) -> None:
    one, two = await add(store, "one", "t"), await add(store, "two", "t")
    assert (await store.get("t")).digest == two.digest
    assert (await store.get(one.digest)).tags == ()
    assert (await store.tag(one.digest, "t")).tags == ("t",)
    with pytest.raises(InvalidInput):
        await store.tag("t", "No Tag")


async def test_remove_and_what_is_shared(store: DiskImageStore) -> None:
    one, two = await add(store, "one", "one"), await add(store, "two", "two", "extra")
    assert await store.remove("extra") == 0
    freed = await store.remove("two")
    assert freed == len("rootfs two")  # the other parts belong to the other image too
    with pytest.raises(NotFound):
        await store.get(two.digest)
    assert (await store.paths(one.digest)).kernel.exists()


async def test_a_held_image_stays(store: DiskImageStore) -> None:
    image = await add(store, "one", "one")
    await store.hold(image.digest, "vm-1")
    await store.hold(image.digest, "vm-1")
    with pytest.raises(Conflict) as caught:
        await store.remove("one")
    assert caught.value.details["holders"] == ["vm-1"]
    await store.prune(tagged=True)
    assert (await store.get(image.digest)).digest == image.digest
    await store.release(image.digest, "vm-1")
    await store.release(image.digest, "vm-1")
    assert await store.holders(image.digest) == []
    with pytest.raises(Conflict):
        await store.remove(image.digest, in_use=[image.digest])
    with pytest.raises(InvalidInput):
        await store.hold(image.digest, "../../escape")
    with pytest.raises(NotFound):
        await store.hold(f"sha256:{'0' * 64}", "vm-1")
    assert await store.prune(tagged=True) > 0
    assert await store.list() == []
    assert not [*store.layout.blobs.iterdir()]


async def test_prune_spares_tags_and_what_is_kept(store: DiskImageStore) -> None:
    tagged, kept, loose = await add(store, "1", "t"), await add(store, "2"), await add(store, "3")
    await store.prune(keep=[kept.digest])
    assert {image.digest for image in await store.list()} == {tagged.digest, kept.digest}
    assert loose.digest not in {tagged.digest, kept.digest}


async def test_parts_that_vanished_are_noticed(store: DiskImageStore) -> None:
    image = await add(store, "one", "one")
    manifest = await store.manifest(image.digest)
    await store.remove("one")
    with pytest.raises(Conflict, match="removed while"):
        await store.commit((), lambda _: manifest, ["again"])
    assert await store.list() == []


async def test_a_staging_directory_of_a_dead_builder_is_swept_and_that_of_a_living_one_is_not(
    store: DiskImageStore,
) -> None:
    async with store.staging() as living:
        (living / "file").touch()
        dead = Staging(store.layout.staging)
        (dead.path / "directory").mkdir()
        (dead.path / "directory" / "file").touch()
        dead.abandon()
        await store.sweep_staging()
        assert (living / "file").exists()
        assert not dead.path.exists()
    assert not [*store.layout.staging.iterdir()]


async def test_many_at_once(store: DiskImageStore) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(add(store, str(number % 5), f"tag{number}"))
    assert len(await store.list()) == 5
    assert sum(len(image.tags) for image in await store.list()) == 20


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"format": 1}', b'{"format": 99}', b"\xff"])
def test_a_damaged_manifest(data: bytes) -> None:
    with pytest.raises(ImageFailed):
        decode(data)
