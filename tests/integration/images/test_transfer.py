"""Images on their way between hosts, through an object store and from a peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from aetherium.domain.errors import ImageFailed, NotFound
from aetherium.images.blobs import LocalBlobs, ObjectBlobs, PeerBlobs
from aetherium.images.shared import SharedImageStore
from aetherium.images.store import DiskImageStore
from aetherium.images.transfer import fetch, push, resolve
from aetherium.objects.local import LocalObjects
from tests.fixtures.platform import tiny_images


@pytest.fixture
async def origin(tmp_path: Path) -> DiskImageStore:
    return await tiny_images(tmp_path / "origin", "base", "other")


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    return LocalObjects(tmp_path / "objects")


def host(tmp_path: Path, name: str) -> DiskImageStore:
    (tmp_path / name).mkdir(mode=0o700)
    return DiskImageStore(tmp_path / name / "images")


async def contents(store: DiskImageStore, digest: str) -> list[bytes]:
    paths = await store.paths(digest)
    return [path.read_bytes() for path in (paths.kernel, paths.initrd, paths.rootfs, paths.agent_drive)]


async def test_an_image_reaches_another_host(
    origin: DiskImageStore, objects: LocalObjects, tmp_path: Path
) -> None:
    digest = await push(origin, objects, "base")
    assert await resolve(objects, "base") == digest
    shared = SharedImageStore(host(tmp_path, "there"), objects)
    image = await shared.get("base")
    assert (image.digest, image.tags) == (digest, ("base",))
    assert await contents(DiskImageStore(tmp_path / "there" / "images"), digest) == await contents(
        origin, digest
    )
    assert [each.digest for each in await shared.list()] == [digest]


async def test_what_is_there_is_not_sent_again(origin: DiskImageStore, objects: LocalObjects) -> None:
    await push(origin, objects, "base")
    before = {each.key: each.modified_at for each in await objects.list("images/blobs/")}
    await push(origin, objects, "other")
    assert {each.key: each.modified_at for each in await objects.list("images/blobs/")} == before


async def test_a_peer_is_asked_first(origin: DiskImageStore, objects: LocalObjects, tmp_path: Path) -> None:
    digest = await push(origin, objects, "base")
    asked: list[str] = []
    blobs = LocalBlobs(origin)

    async def ask(name: str, offset: int) -> AsyncGenerator[bytes, None]:
        asked.append(name)
        async for piece in blobs.open(name, offset):
            yield piece

    async def peers(_: str) -> list[PeerBlobs]:
        return [PeerBlobs(ask)]

    for each in await objects.list("images/blobs/"):
        await objects.remove(each.key)  # only the peer has them
    shared = SharedImageStore(host(tmp_path, "there"), objects, peers=peers)
    assert (await shared.get("base")).digest == digest
    assert asked


@pytest.mark.parametrize("damage", [b"something else", b""])
async def test_damage_is_refused_and_nothing_is_left(
    origin: DiskImageStore, objects: LocalObjects, tmp_path: Path, damage: bytes
) -> None:
    digest = await push(origin, objects, "base")
    victim = (await objects.list("images/blobs/"))[0].key
    whole = b"".join([piece async for piece in objects.get(victim)])
    await objects.put(victim, damage)
    there = host(tmp_path, "there")
    with pytest.raises(ImageFailed):
        await fetch(there, ObjectBlobs(objects), digest)
    assert await there.list() == []
    await objects.put(victim, whole)
    assert (await fetch(there, ObjectBlobs(objects), digest, tags=("base",))).digest == digest


async def test_several_that_want_one_image_get_it(
    origin: DiskImageStore, objects: LocalObjects, tmp_path: Path
) -> None:
    digest = await push(origin, objects, "base")
    there = host(tmp_path, "there")
    found = await asyncio.gather(
        *(SharedImageStore(DiskImageStore(there.layout.root), objects).get("base") for _ in range(4))
    )
    assert {image.digest for image in found} == {digest}


async def test_an_unknown_image_is_not_found(objects: LocalObjects, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await SharedImageStore(host(tmp_path, "there"), objects).get("nothing")


async def test_without_the_object_store_a_host_has_its_own(origin: DiskImageStore, tmp_path: Path) -> None:
    shared = SharedImageStore(origin, LocalObjects(tmp_path / "empty"))
    assert "base" in (await shared.get("base")).tags
