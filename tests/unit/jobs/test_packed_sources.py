"""Sources that are packed where they are submitted, for a worker on another host."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from aetherium.domain.errors import InvalidInput, LimitExceeded, SourceFailed
from aetherium.domain.ids import JOB, new_id
from aetherium.domain.jobs import (
    BundleSource,
    DirectorySource,
    GitSource,
    JobSource,
    JobSpec,
    JobStep,
    PackedSource,
)
from aetherium.interfaces.jobs import SOURCE
from aetherium.jobfile import loads
from aetherium.objects.local import LocalObjects
from aetherium.services.job_files import prefix_of
from aetherium.sources.opening import open_source
from aetherium.storage import codec
from aetherium.worker.jobs.sources.packed import open_packed, pack
from tests.unit.jobs.trees import commit, content, git, repository, unpack

MIB = 1 << 20
JOB_ID = new_id(JOB)


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    return LocalObjects(tmp_path / "objects")


@pytest.fixture
async def origin(tmp_path: Path) -> Path:
    """Two commits, an ignored file, a changed one, a new one, and a repository inside."""
    path = tmp_path / "origin"
    await repository(path, {"a.txt": b"one\n", ".gitignore": b"*.o\n", "run.sh": b"#!/bin/sh\n"})
    await commit(path, {"a.txt": b"two\n"}, "second")
    (path / "run.sh").chmod(0o755)
    (path / "a.txt").write_bytes(b"changed\n")
    (path / "new.txt").write_bytes(b"new\n")
    (path / "built.o").write_bytes(b"built\n")
    await repository(path / "inside", {"b.txt": b"b\n"})
    return path


async def test_what_came_as_an_upload_is_packed_already(objects: LocalObjects, tmp_path: Path) -> None:
    source = PackedSource("c", True, ("w",))
    assert await pack(source, objects, JOB_ID, tmp_path / "scratch", MIB) == source
    assert await objects.list("") == []


async def packed(
    source: JobSource, objects: LocalObjects, tmp_path: Path, limit: int = 64 * MIB
) -> JobSource:
    """Through a scratch directory of which nothing may stay."""
    try:
        return await pack(source, objects, JOB_ID, tmp_path / "scratch", limit)
    finally:
        assert [*(tmp_path / "scratch").glob("*")] == []


async def test_a_directory_reaches_another_host_as_it_is(
    origin: Path, objects: LocalObjects, tmp_path: Path
) -> None:
    source = await packed(DirectorySource(str(origin)), objects, tmp_path)
    assert isinstance(source, PackedSource)
    assert source.commit == await git(origin, "rev-parse", "HEAD")
    assert not source.clean
    assert len(source.warnings) == 1
    assert "inside" in source.warnings[0]
    status = await git(origin, "status", "--porcelain")
    (tmp_path / "direct").mkdir()
    direct = await open_source(DirectorySource(str(origin)), tmp_path / "direct", 64 * MIB)
    await unpack(direct.pieces, tmp_path / "expected")
    await asyncio.to_thread(origin.rename, tmp_path / "not-on-this-host")
    delivery = open_packed(source, objects.get(prefix_of(JOB_ID) + SOURCE), JOB_ID)
    assert (delivery.commit, delivery.clean, delivery.warnings) == (source.commit, False, source.warnings)
    await unpack(delivery.pieces, tmp_path / "guest")
    assert content(tmp_path / "guest") == content(tmp_path / "expected")
    assert (tmp_path / "guest" / "new.txt").exists()
    assert not (tmp_path / "guest" / "built.o").exists()
    assert await git(tmp_path / "guest", "rev-parse", "HEAD") == source.commit
    assert (await git(tmp_path / "guest", "status", "--porcelain")).splitlines() == [
        line for line in status.splitlines() if "inside" not in line
    ]


async def test_a_commit_of_a_directory_is_clean(origin: Path, objects: LocalObjects, tmp_path: Path) -> None:
    source = await packed(DirectorySource(str(origin), uncommitted=False), objects, tmp_path)
    assert isinstance(source, PackedSource)
    assert source.clean
    await unpack(
        open_packed(source, objects.get(prefix_of(JOB_ID) + SOURCE), JOB_ID).pieces, tmp_path / "guest"
    )
    assert (tmp_path / "guest" / "a.txt").read_bytes() == b"two\n"
    assert await git(tmp_path / "guest", "status", "--porcelain") == ""


async def test_repositories_and_bundles_of_this_host_are_packed(
    origin: Path, objects: LocalObjects, tmp_path: Path
) -> None:
    head = await git(origin, "rev-parse", "HEAD")
    await git(origin, "bundle", "create", "-q", str(tmp_path / "x.bundle"), "main")
    for source in (
        GitSource(str(origin)),
        GitSource(f"file://{origin}"),
        BundleSource(str(tmp_path / "x.bundle")),
    ):
        assert await packed(source, objects, tmp_path) == PackedSource(head, True)


@pytest.mark.parametrize(
    "url", ["https://example.org/a.git", "ssh://git@example.org/a", "git://example.org/a"]
)
async def test_what_every_host_reaches_stays(objects: LocalObjects, tmp_path: Path, url: str) -> None:
    source = GitSource(url, "main")
    assert await packed(source, objects, tmp_path) is source
    assert await objects.list("") == []


async def test_what_is_too_large_leaves_nothing(origin: Path, objects: LocalObjects, tmp_path: Path) -> None:
    (origin / "large").write_bytes(bytes(3 * MIB))
    with pytest.raises(LimitExceeded, match="more than 2 MiB"):
        await packed(DirectorySource(str(origin)), objects, tmp_path, 2 * MIB)
    assert await objects.list("") == []
    assert [*objects.staging.iterdir()] == []


async def test_what_is_not_there(objects: LocalObjects, tmp_path: Path) -> None:
    with pytest.raises(SourceFailed):
        await packed(DirectorySource(str(tmp_path / "none")), objects, tmp_path)


async def test_a_packed_source_that_is_gone(origin: Path, objects: LocalObjects, tmp_path: Path) -> None:
    source = await packed(DirectorySource(str(origin)), objects, tmp_path)
    assert isinstance(source, PackedSource)
    await objects.remove_all(prefix_of(JOB_ID))
    with pytest.raises(SourceFailed, match="gone"):
        await unpack(
            open_packed(source, objects.get(prefix_of(JOB_ID) + SOURCE), JOB_ID).pieces, tmp_path / "guest"
        )


def test_it_is_recorded_with_its_job() -> None:
    spec = JobSpec((JobStep("s", "true"),), source=PackedSource("c" * 40, True, ("left behind",)))
    assert codec.load(JobSpec, json.loads(json.dumps(codec.dump(spec)))) == spec


async def test_nobody_else_can_name_one(tmp_path: Path) -> None:
    """A job's own packed source is the only one that it can get at; job files know no such thing."""
    with pytest.raises(InvalidInput):
        await open_source(PackedSource(), tmp_path, MIB)
    for text in ("{kind: packed}", "{packed: x}", "{directory: ., kind: packed}"):
        with pytest.raises(InvalidInput):
            loads(f"source: {text}\nsteps: ['true']\n", base=tmp_path)
