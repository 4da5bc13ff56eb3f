"""Uploads: whole or not at all, for one project, for an hour."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from aetherium.domain.errors import InvalidInput, LimitExceeded, NotFound, SourceFailed
from aetherium.domain.ids import UPLOAD, new_id
from aetherium.domain.jobs import UploadSource
from aetherium.interfaces.clock import SystemClock
from aetherium.objects.local import LocalObjects
from aetherium.services.uploads import KEPT, UploadService
from tests.unit.jobs.trees import git, repository, unpack

MIB = 1 << 20


class Later(SystemClock):
    """The time, or some time after it."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    return LocalObjects(tmp_path / "objects")


@pytest.fixture
def clock() -> Later:
    return Later()


@pytest.fixture
def uploads(objects: LocalObjects, clock: Later, tmp_path: Path) -> UploadService:
    return UploadService(objects, clock, tmp_path / "scratch", MIB)


def archive(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"top/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


async def pieces(*data: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece
    if error is not None:
        raise error


async def test_an_archive_comes_out_as_a_tree(uploads: UploadService, tmp_path: Path) -> None:
    data = archive(note=b"hi")
    upload = await uploads.take(pieces(data[:10], data[10:]), project="p")
    assert (upload.size_bytes, upload.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    source = UploadSource(upload.id, strip=1, commit="c", clean=True, warnings=("w",))
    for _ in range(2):  # several jobs may begin with it
        async with uploads.opened(source, project="p") as delivery:
            assert (delivery.commit, delivery.clean, delivery.warnings) == ("c", True, ("w",))
            await unpack(delivery.pieces, tmp_path / "guest")
    assert (tmp_path / "guest" / "note").read_bytes() == b"hi"
    assert list((tmp_path / "scratch").iterdir()) == []


async def test_a_bundle_comes_out_with_its_commit(uploads: UploadService, tmp_path: Path) -> None:
    await repository(tmp_path / "origin", {"a.txt": b"one\n"})
    await git(tmp_path / "origin", "bundle", "create", "--quiet", str(tmp_path / "bundle"), "HEAD", "main")
    head = (await git(tmp_path / "origin", "rev-parse", "HEAD")).strip()
    upload = await uploads.take(pieces((tmp_path / "bundle").read_bytes()), project="p")
    async with uploads.opened(UploadSource(upload.id, "bundle"), project="p") as delivery:
        assert (delivery.commit, delivery.clean) == (head, True)
        await unpack(delivery.pieces, tmp_path / "guest")
    assert (tmp_path / "guest" / "a.txt").read_bytes() == b"one\n"


async def test_it_belongs_to_one_project(uploads: UploadService) -> None:
    upload = await uploads.take(pieces(archive(a=b"")), project="mine")
    for upload_id, project in ((upload.id, "theirs"), (new_id(UPLOAD), "mine")):
        with pytest.raises(NotFound, match=upload_id):
            async with uploads.opened(UploadSource(upload_id), project=project):
                pass
    for name in ("../mine", "x", f"{upload.id}/.."):
        with pytest.raises(InvalidInput):
            async with uploads.opened(UploadSource(name), project="mine"):
                pass


async def test_it_is_there_as_a_whole_or_not_at_all(uploads: UploadService, objects: LocalObjects) -> None:
    with pytest.raises(KeyError):
        await uploads.take(pieces(b"some", error=KeyError()), project="p")
    with pytest.raises(LimitExceeded, match="1 MiB"):
        await uploads.take(pieces(bytes(MIB), b"x"), project="p")
    assert await objects.list("") == []


async def test_it_is_kept_for_an_hour(uploads: UploadService, objects: LocalObjects, clock: Later) -> None:
    upload = await uploads.take(pieces(b"x"), project="p")
    assert await uploads.sweep() == 0
    clock.ahead = KEPT + timedelta(minutes=1)
    assert upload.expires_at < clock.now()
    assert await uploads.sweep() == 1
    assert await objects.list("") == []


async def test_a_project_does_not_fill_the_disk(uploads: UploadService, clock: Later) -> None:
    for _ in range(4):
        await uploads.take(pieces(bytes(MIB)), project="p")
    with pytest.raises(LimitExceeded, match="4 MiB of uploads"):
        await uploads.take(pieces(b"x"), project="p")
    await uploads.take(pieces(b"x"), project="another")
    clock.ahead = KEPT + timedelta(minutes=1)
    await uploads.take(pieces(b"x"), project="p")


async def test_what_is_no_archive_is_said(uploads: UploadService, tmp_path: Path) -> None:
    upload = await uploads.take(pieces(b"no archive" * 100), project="p")
    with pytest.raises(SourceFailed):
        async with uploads.opened(UploadSource(upload.id), project="p") as delivery:
            await unpack(delivery.pieces, tmp_path / "guest")
    with pytest.raises(SourceFailed, match="no git bundle"):
        async with uploads.opened(UploadSource(upload.id, "bundle"), project="p"):
            pass
    assert list((tmp_path / "scratch").iterdir()) == []
