"""`aetherium --url … run` of what lies here, on a gateway that has another data directory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aetherium.domain.identity import Role
from aetherium.gateway import tcp
from aetherium.gateway.server import serve_platform
from aetherium.objects.local import LocalObjects
from aetherium.services.uploads import UploadService
from tests.e2e.conftest import CLI
from tests.fixtures.platform import data_dir, fake_platform
from tests.unit.jobs.trees import commit, repository

__all__ = ["data_dir"]

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Remote:
    """A command line on its way to a gateway elsewhere."""

    cli: CLI
    url: str
    key: str
    guest: Path

    async def run(self, *words: str) -> tuple[int, str, str]:
        """The exit code, stdout and stderr of a command."""
        done = await self.cli("--url", self.url, *words, AETHERIUM_API_KEY=self.key)
        return done.exit_code, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
async def remote(data_dir: Path, tmp_path: Path) -> AsyncIterator[Remote]:
    async with fake_platform(data_dir, guest_scratch=str(data_dir / "guest")) as platform:
        objects = LocalObjects(data_dir / "objects")
        platform.jobs.uploads = UploadService(objects, platform.host.clock, data_dir / "scratch", MIB)
        with tcp.listening(platform.settings, "127.0.0.1:0") as listener:
            assert listener is not None
            async with serve_platform(platform, data_dir / "run" / "s", grace_s=1.0, tcp=listener):
                key = await platform.keys.create("cli", project_id="default", role=Role.OPERATOR, by="test")
                yield Remote(CLI(tmp_path / "own"), listener.url, key.secret, tmp_path / "guest")


async def test_a_directory_of_this_host_runs_there_and_its_patch_comes_back(
    remote: Remote, tmp_path: Path
) -> None:
    origin = tmp_path / "origin"
    await repository(origin, {"a.txt": b"one\n", ".gitignore": b"*.o\n"})
    await commit(origin, {"a.txt": b"two\n"}, "second")
    (origin / "new.txt").write_bytes(b"new\n")
    (origin / "built.o").write_bytes(b"built\n")
    job = tmp_path / "job.json"
    steps = [{"name": "change", "run": "ls; cat a.txt new.txt; echo three >a.txt"}]
    job.write_text(json.dumps({"steps": steps, "workdir": str(remote.guest)}))
    patch = tmp_path / "changes.patch"
    code, output, said = await remote.run(
        "run", "-f", str(job), "--repo", str(origin), "--patch-out", str(patch)
    )
    assert code == 0, said
    assert "a.txt\nnew.txt\ntwo\nnew\n" in output
    assert "+three" in patch.read_text()
    assert not (tmp_path / "own" / "aetherium.db").exists()


async def test_what_is_too_large_there_is_said(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "file").write_bytes(bytes(2 * MIB))
    code, _, said = await remote.run("run", "--repo", str(tmp_path / "large"), "--", "true")
    assert code == 125
    assert "more than 1 MiB" in said
