"""The command line as a process of its own, over the fake driver: with a daemon, and without."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess as sp  # noqa: TID251 # constants only; processes are started by aetherium.process
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aetherium import process
from tests.fixtures.leftovers import end_all
from tests.fixtures.platform import tiny_images

DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class CLI:
    """`aetherium` with a data directory of its own."""

    data_dir: Path
    driver: str = "fake"

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "aetherium", *words]

    def env(self, **more: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AETHERIUM_")}
        return {
            **kept,
            "AETHERIUM_DATA_DIR": str(self.data_dir),
            "AETHERIUM_DRIVERS": json.dumps([self.driver]),
            "AETHERIUM_LISTEN": "none",
            "PYTHONPATH": "src",
            **more,
        }

    async def __call__(self, *words: str, stdin: bytes | None = None, **env: str) -> process.Completed:
        """Run a command to its end."""
        return await process.run(
            self.argv(*words), stdin=stdin, env=self.env(**env), timeout_s=DEADLINE_S, check=False
        )

    async def json(self, *words: str) -> Any:
        """The answer of a command that has to succeed."""
        done = await self(*words, "--json")
        assert done.exit_code == 0, (words, done)
        return json.loads(done.stdout)

    @asynccontextmanager
    async def start(self, *words: str, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command that goes on during the block."""
        async with process.spawned(
            self.argv(*words), env=self.env(**env), stdin=sp.PIPE, stdout=sp.PIPE, stderr=sp.PIPE
        ) as child:
            yield child

    @asynccontextmanager
    async def daemon(self, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """`aetherium up`, which listens."""
        async with self.start("up", **env) as child:
            assert child.stdout is not None
            async with asyncio.timeout(DEADLINE_S):
                line = await child.stdout.readline()
            assert line.startswith(b"Aetherium listens at "), line
            yield child  # each command in the block has a deadline of its own
            if child.returncode is None:
                child.send_signal(signal.SIGTERM)
                async with asyncio.timeout(DEADLINE_S):
                    assert await child.wait() == 0


@asynccontextmanager
async def fresh_cli() -> AsyncIterator[CLI]:
    """A command line over an empty platform that has the image base; all is gone afterwards."""
    data_dir = Path(tempfile.mkdtemp(prefix="aeth-"))
    try:
        await tiny_images(data_dir / "images", "base")
        yield CLI(data_dir)
    finally:
        await asyncio.to_thread(end_all, data_dir)
        await asyncio.to_thread(shutil.rmtree, data_dir)


@pytest.fixture
async def cli() -> AsyncIterator[CLI]:
    async with fresh_cli() as cli:
        yield cli


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[CLI]:
    """One daemon for the tests of a module."""
    async with fresh_cli() as cli, cli.start("up") as child:
        assert child.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            assert (await child.stdout.readline()).startswith(b"Aetherium listens at ")
        yield cli
        await cli("vm", "rm", "--all")
        child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            assert await child.wait() == 0
