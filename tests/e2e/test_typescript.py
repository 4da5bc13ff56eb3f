"""The TypeScript client: made of the API's description as it is, strict, and working under Node."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium import process
from aetherium.domain.identity import Role
from aetherium.gateway import tcp
from aetherium.gateway.server import serve_platform
from tests.fixtures.platform import data_dir, fake_platform

__all__ = ["data_dir"]

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "typescript"
INSTALL_S, RUN_S = 300.0, 120.0

pytestmark = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed"
)


async def run(*argv: str, timeout_s: float = RUN_S) -> str:
    env = {**os.environ, "NO_UPDATE_NOTIFIER": "1"}
    done = await process.run(argv, cwd=ROOT, env=env, timeout_s=timeout_s, check=False)
    assert done.exit_code == 0, (argv, done.stdout.decode(), done.stderr.decode())
    return done.stdout.decode()


@pytest.fixture(scope="module")
async def installed() -> None:
    """What the lock file names, of npm; its cache is the user's."""
    lock, there = CLIENT / "package-lock.json", CLIENT / "node_modules" / ".package-lock.json"
    if not there.exists() or there.stat().st_mtime < lock.stat().st_mtime:
        await run("npm", "ci", "--prefix", str(CLIENT), "--no-audit", "--no-fund", timeout_s=INSTALL_S)


@pytest.fixture(scope="module")
async def built(installed: None) -> None:
    await run("npm", "run", "--silent", "build", "--prefix", str(CLIENT))


@pytest.fixture
async def gateway(data_dir: Path) -> AsyncIterator[tuple[str, str]]:
    """An address, and a key for it."""
    async with fake_platform(data_dir) as platform:
        with tcp.listening(platform.settings, "127.0.0.1:0") as listener:
            assert listener is not None
            async with serve_platform(platform, data_dir / "run" / "s", grace_s=1.0, tcp=listener):
                key = await platform.keys.create("ts", project_id="default", role=Role.OPERATOR, by="test")
                yield listener.url, key.secret


async def test_its_types_are_those_of_the_api(installed: None, tmp_path: Path) -> None:
    await run("scripts/typescript", str(tmp_path / "schema.d.ts"))
    made, kept = tmp_path / "schema.d.ts", CLIENT / "src" / "schema.d.ts"
    assert made.read_text() == kept.read_text(), "the API has changed: run scripts/typescript"


async def test_everything_once_under_node(built: None, gateway: tuple[str, str], tmp_path: Path) -> None:
    async with asyncio.timeout(RUN_S):
        said = await run("node", str(CLIENT / "tests" / "smoke.mjs"), *gateway, str(tmp_path))
    seen = json.loads(said)
    assert seen.pop("steps") > 0
    lines = sorted(seen.pop("output").splitlines())
    assert lines == ["stderr: two", "stdout: one"]
    assert seen == {
        "exit_code": 3,
        "read": "written\n",
        "names": ["smoke"],
        "same_task": True,
        "error": ["not_found", 404, False],
    }


async def test_streams_are_read_however_they_are_cut(built: None) -> None:
    await run("node", "--test", str(CLIENT / "tests" / "streams.test.mjs"))


def test_the_lock_file_names_no_registry() -> None:
    assert '"resolved"' not in (CLIENT / "package-lock.json").read_text()
