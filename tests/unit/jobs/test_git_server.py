"""A git repository over the network: git's own daemon on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium.domain.errors import SourceFailed
from aetherium.domain.jobs import GitSource
from aetherium.process import spawned
from aetherium.sources.opening import open_source
from tests.unit.jobs.trees import commit, git, repository, unpack

MIB = 1 << 20


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def _listening(port: int, log: asyncio.StreamReader) -> None:
    """Wait until the daemon says that it is ready."""
    async with asyncio.timeout(20):
        while line := await log.readline():
            if b"Ready to rumble" in line:
                return
    pytest.fail(f"git daemon does not listen at {port}")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[str]:
    await repository(tmp_path / "served" / "project", {"a.txt": b"one\n"})
    await commit(tmp_path / "served" / "project", {"a.txt": b"two\n"})
    port = _free_port()
    programs = await git(tmp_path, "--exec-path")
    argv = [f"{programs}/git-daemon", "--verbose", "--export-all", "--reuseaddr", "--listen=127.0.0.1"]
    argv += [f"--port={port}", f"--base-path={tmp_path / 'served'}"]
    async with spawned(argv, stderr=asyncio.subprocess.PIPE) as daemon:
        assert daemon.stderr is not None
        await _listening(port, daemon.stderr)
        yield f"git://127.0.0.1:{port}"


@pytest.mark.parametrize("ref", ["", "main", "first"])
async def test_fetched_from_a_server(server: str, tmp_path: Path, ref: str) -> None:
    first = await git(tmp_path / "served" / "project", "rev-parse", "HEAD~1")
    source = GitSource(f"{server}/project", first if ref == "first" else ref)
    delivery = await open_source(source, tmp_path / "scratch", 16 * MIB)
    await unpack(delivery.pieces, tmp_path / "guest")
    assert (tmp_path / "guest" / "a.txt").read_text() == ("one\n" if ref == "first" else "two\n")
    assert await git(tmp_path / "guest", "status", "--porcelain") == ""


async def test_a_repository_that_the_server_does_not_have(server: str, tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="cannot be fetched"):
        await open_source(GitSource(f"{server}/nothing"), tmp_path / "scratch", MIB)


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="cannot be fetched"):
        await open_source(GitSource(f"git://127.0.0.1:{_free_port()}/x"), tmp_path / "scratch", MIB)
