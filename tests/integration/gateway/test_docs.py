"""``/docs`` works without the internet: all that it loads comes from the gateway, as its policy demands."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from aetherium.gateway.app import create_app
from aetherium.process import run
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.raw import http


async def test_the_page_loads_nothing_from_elsewhere(gateway: Gateway) -> None:
    async with http(gateway.socket) as client:
        page = await client.get("/docs")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        found = re.findall(r'(?:src|href)="([^"]*)"', page.text)
        assert len(found) == 4
        for reference in found:
            asset = await client.get(f"/{reference}")
            assert asset.status_code == 200, reference
            assert asset.headers["x-content-type-options"] == "nosniff"
        assert "<script>" not in page.text
        assert (await client.get("/docs/assets/redoc.standalone.js")).status_code == 404
        assert (await client.get("/docs/assets/..%2f__init__.py")).status_code == 404


@asynccontextmanager
async def _port(app: object) -> AsyncIterator[int]:
    """A TCP port of the loopback where the application is served: browsers know no Unix sockets."""
    config = uvicorn.Config(app, lifespan="off", log_config=None)  # type: ignore[arg-type]  # an application
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with asyncio.TaskGroup() as group:
            group.create_task(server._serve([listener]))
            yield int(listener.getsockname()[1])
            server.should_exit = True


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium")
async def test_a_browser_shows_the_operations(gateway: Gateway, tmp_path: Path) -> None:
    async with _port(create_app(gateway.platform)) as port:
        shown = await run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={tmp_path}",
                "--virtual-time-budget=20000",
                "--enable-logging=stderr",
                "--dump-dom",
                f"http://127.0.0.1:{port}/docs",
            ],
            timeout_s=60,
        )
    assert "/v1/vms/{ref}/executions" in re.sub(r"<[^>]*>|\u200b", "", shown.stdout.decode())
    assert "Content Security Policy" not in shown.stderr.decode()
