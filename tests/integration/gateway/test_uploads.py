"""Jobs of what lies on the client's host, over HTTP, against a gateway that sees none of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from aetherium.bootstrap import Platform
from aetherium.client import Client
from aetherium.client.aio import AsyncClient
from aetherium.domain.errors import LimitExceeded, NotFound, SourceFailed, Unsupported
from aetherium.domain.identity import Role
from aetherium.domain.jobs import (
    ArchiveSource,
    BundleSource,
    DirectorySource,
    GitSource,
    JobSource,
    JobSpec,
    JobState,
    JobStep,
    UploadSource,
)
from aetherium.gateway import tcp
from aetherium.gateway.server import serve_platform
from aetherium.objects.local import LocalObjects
from aetherium.services.uploads import UploadService
from tests.fixtures.platform import data_dir, fake_platform
from tests.unit.jobs.trees import commit, git, repository

__all__ = ["data_dir"]

STEPS = (
    JobStep("show", run="cat a.txt new.txt 2>/dev/null || true; ls; git log --format=%s 2>/dev/null || true"),
)


@dataclass(frozen=True, slots=True)
class Remote:
    """A gateway that is reached by its address."""

    platform: Platform
    url: str
    key: str

    def client(self, key: str = "") -> AsyncClient:
        return AsyncClient.http(self.url, api_key=key or self.key)


@pytest.fixture
async def remote(data_dir: Path) -> AsyncIterator[Remote]:
    async with fake_platform(data_dir, guest_scratch=str(data_dir / "guest")) as platform:
        objects = LocalObjects(data_dir / "objects")
        platform.jobs.uploads = UploadService(objects, platform.host.clock, data_dir / "scratch", 1 << 20)
        with tcp.listening(platform.settings, "127.0.0.1:0") as listener:
            assert listener is not None
            async with serve_platform(platform, data_dir / "run" / "s", grace_s=1.0, tcp=listener):
                issued = await platform.keys.create("test", project_id="default", role=Role.OPERATOR, by="t")
                yield Remote(platform, listener.url, issued.secret)


@pytest.fixture
async def origin(tmp_path: Path) -> Path:
    """A repository with two commits, an ignored file, and an uncommitted one."""
    path = tmp_path / "origin"
    await repository(path, {"a.txt": b"one\n", ".gitignore": b"*.o\n"})
    await commit(path, {"a.txt": b"two\n"}, "second")
    (path / "new.txt").write_bytes(b"new\n")
    (path / "built.o").write_bytes(b"built\n")
    return path


async def run(client: AsyncClient, source: JobSource, workdir: Path) -> tuple[str, str]:
    """The job's commit, and what its step wrote."""
    job = await client.jobs.submit(JobSpec(STEPS, source=source, workdir=str(workdir), patch=False))
    ended = await client.jobs.wait(job.id)
    assert ended.state is JobState.SUCCEEDED, ended.error
    name = (await client.jobs.logs(job.id))[0].name
    return ended.commit, b"".join([piece async for piece in client.jobs.log(job.id, name)]).decode()


async def test_a_directory_goes_over_the_wire_as_git_sees_it(
    remote: Remote, origin: Path, tmp_path: Path
) -> None:
    head = (await git(origin, "rev-parse", "HEAD")).strip()
    async with asyncio.timeout(60), remote.client() as client:
        found, output = await run(client, DirectorySource(str(origin)), tmp_path / "guest")
    assert found == head
    assert output == "two\nnew\na.txt\nnew.txt\nsecond\n"


async def test_so_do_bundles_archives_and_repositories_of_the_host(
    remote: Remote, origin: Path, tmp_path: Path
) -> None:
    bundle, archive = tmp_path / "bundle", tmp_path / "a.tar.gz"
    await git(origin, "bundle", "create", "--quiet", str(bundle), "HEAD", "main")
    await git(origin, "archive", "--prefix=top/", "-o", str(archive), "HEAD~1")
    async with asyncio.timeout(60), remote.client() as client:
        sources: list[tuple[JobSource, str]] = [
            (BundleSource(str(bundle)), "two\na.txt\nsecond\nchange\n"),
            (ArchiveSource(str(archive), strip=1), "one\na.txt\n"),
            (GitSource(f"file://{origin}"), "two\na.txt\nsecond\n"),
        ]
        for number, (source, expected) in enumerate(sources):
            _, output = await run(client, source, tmp_path / f"guest{number}")
            assert output == expected


async def test_an_upload_is_of_one_project_and_checked(remote: Remote, tmp_path: Path) -> None:
    other = await remote.platform.projects.create("other")
    issued = await remote.platform.keys.create("o", project_id=other.id, role=Role.OPERATOR, by="t")
    spec = JobSpec(STEPS, patch=False)
    async with remote.client() as ours, remote.client(issued.secret) as theirs:
        upload = await ours.uploads.create(b"x")
        assert upload.sha256 == hashlib.sha256(b"x").hexdigest()
        with pytest.raises(NotFound, match=upload.id):
            await theirs.jobs.submit(JobSpec(STEPS, source=UploadSource(upload.id), patch=False))
        with pytest.raises(LimitExceeded):
            await ours.uploads.create(bytes((1 << 20) + 1))
    wrong = base64.b64encode(hashlib.sha256(b"y").digest()).decode()
    headers = {"authorization": f"Bearer {remote.key}", "content-digest": f"sha-256=:{wrong}:"}
    async with httpx2.AsyncClient(base_url=remote.url, headers=headers) as http:
        answer = await http.post("/v1/uploads", content=b"x")
        assert answer.json()["code"] == "invalid_input"
        spec_json = {"steps": [{"name": "a", "run": "true"}], "source": {"kind": "directory", "path": "/etc"}}
        refused = await http.post("/v1/jobs", json={"spec": spec_json})
        assert "gateway's host" in refused.json()["detail"]
    assert spec.source is None


async def test_without_a_place_for_them_none_is_taken(remote: Remote, origin: Path) -> None:
    remote.platform.jobs.uploads = None
    async with remote.client() as client:
        with pytest.raises(Unsupported, match="takes no uploads"):
            await client.uploads.create(b"x")
        with pytest.raises(SourceFailed, match="no directory"):
            await client.uploads.pack(DirectorySource(str(origin / "nothing")))


def _use(remote: Remote, origin: Path, workdir: Path) -> None:
    with Client.http(remote.url, api_key=remote.key) as client:
        packed = client.uploads.pack(DirectorySource(str(origin)))
        job = client.jobs.submit(JobSpec(STEPS, source=packed, workdir=str(workdir), patch=False))
        assert client.jobs.wait(job.id).state is JobState.SUCCEEDED
        assert isinstance(client.uploads.pack(packed), UploadSource)


async def test_the_same_without_an_event_loop(remote: Remote, origin: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(60):
        await asyncio.to_thread(_use, remote, origin, tmp_path / "guest")
