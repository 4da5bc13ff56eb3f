"""docs/sdk.md: its examples run as they stand there, against a real gateway, and it leaves nothing out."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aetherium.client.aio import AsyncClient
from aetherium.domain.identity import Role
from aetherium.gateway import tcp
from aetherium.gateway.server import serve_platform
from aetherium.objects.local import LocalObjects
from aetherium.services.uploads import UploadService
from tests.fixtures.platform import data_dir, fake_platform

__all__ = ["data_dir"]

PAGE = Path(__file__).parents[3] / "docs" / "sdk.md"
TEXT = PAGE.read_text()
EXAMPLES = [
    (TEXT.count("\n", 0, found.start()) + 2, found[1])
    for found in re.finditer(r"```python\n(.*?)```", TEXT, re.DOTALL)
]


@pytest.fixture
async def names(data_dir: Path) -> AsyncIterator[dict[str, Any]]:
    """What the page says that its examples are given."""
    scratch = str(data_dir / "guest")
    async with fake_platform(data_dir, forkable=True, guest_scratch=scratch) as platform:
        objects = LocalObjects(data_dir / "objects")
        platform.jobs.uploads = UploadService(objects, platform.host.clock, data_dir / "scratch", 1 << 20)
        with tcp.listening(platform.settings, "127.0.0.1:0") as listener:
            assert listener is not None
            async with serve_platform(platform, data_dir / "run" / "s", grace_s=1.0, tcp=listener):
                key = await platform.keys.create("docs", project_id="default", role=Role.ADMIN, by="test")
                yield {"url": listener.url, "key": key.secret}


@pytest.mark.parametrize(("line", "example"), EXAMPLES, ids=[f"line {line}" for line, _ in EXAMPLES])
async def test_an_example_runs(
    line: int, example: str, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "guest").mkdir()  # a guest of the fake driver has the files of this host
    code = compile(
        "\n" * (line - 1) + example.replace("/workspace", str(tmp_path / "guest")),
        str(PAGE),
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
    )
    async with asyncio.timeout(60):
        if code.co_flags & inspect.CO_COROUTINE:
            await eval(code, names)  # noqa: S307 - the page is ours
        else:
            await asyncio.to_thread(exec, code, names)


async def test_no_part_is_left_out() -> None:
    async with AsyncClient.unix("nowhere") as client:
        parts = {name for name in vars(client) if not name.startswith("_")}
    assert parts
    assert {name for name in parts if f"`client.{name}`" not in TEXT} == set()
