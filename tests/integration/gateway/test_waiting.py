"""Answers that are a long time coming: whoever goes away is forgotten, and a gateway that ends says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aetherium.bootstrap import Platform
from aetherium.client.aio import AsyncClient
from aetherium.domain.errors import NotFound, Unavailable
from aetherium.domain.ids import EXECUTION, JOB, TASK, new_id
from aetherium.domain.tasks import TaskSpec, TaskState
from aetherium.gateway.server import serve_platform
from aetherium.services.tasks import TaskService
from tests.fixtures.platform import fake_platform
from tests.integration.gateway.conftest import Gateway


async def test_a_client_that_goes_away_is_waited_for_no_longer(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await gateway.platform.tasks.submit(TaskSpec("system.noop"))
    began, given_up = asyncio.Event(), asyncio.Event()

    async def wait(*_: object, **__: object) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    monkeypatch.setattr(TaskService, "wait", wait)
    async with asyncio.timeout(10):
        async with AsyncClient.unix(gateway.socket) as client:
            waiting = asyncio.ensure_future(client.tasks.wait(task.id))
            await began.wait()
            waiting.cancel()
        await given_up.wait()


async def test_a_gateway_that_ends_says_so(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform, asyncio.timeout(30):
        task = await platform.tasks.submit(TaskSpec("system.noop"))
        socket = data_dir / "run" / "s"
        async with AsyncClient.unix(socket, retry=None) as client:
            async with serve_platform(platform, socket, grace_s=5.0):
                waiting = asyncio.ensure_future(client.tasks.wait(task.id))
                await _listening(platform)
            with pytest.raises(Unavailable, match="shutting down"):
                await waiting


async def test_a_request_that_outlasts_the_gateway_is_answered(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    began = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        began.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(TaskService, "list", never)
    socket = data_dir / "run" / "s"
    async with (
        fake_platform(data_dir, background=False) as platform,
        AsyncClient.unix(socket, retry=None) as client,
    ):
        async with asyncio.timeout(30), serve_platform(platform, socket, grace_s=1.0):
            listing = asyncio.ensure_future(client.tasks.list())
            await began.wait()
        with pytest.raises(Unavailable, match="shutting down"):
            await listing
    assert "Traceback" not in caplog.text


async def _listening(platform: Platform) -> None:
    """Return when somebody waits for the ends of tasks."""
    heard = asyncio.Event()
    listen = platform.tasks._bus.listen

    def noted(topics: Any) -> Any:
        heard.set()
        return listen(topics)

    platform.tasks._bus.listen = noted  # type: ignore[method-assign]
    await heard.wait()


async def test_a_wait_ends_with_its_time_or_with_an_error(client: AsyncClient, gateway: Gateway) -> None:
    task = await gateway.platform.tasks.submit(TaskSpec("system.noop"))
    assert (await client.tasks.wait(task.id, timeout_s=0)).state is TaskState.QUEUED
    calls: list[tuple[Callable[[str], Awaitable[object]], str]] = [
        (client.tasks.wait, TASK),
        (client.jobs.wait, JOB),
        (client.executions.wait, EXECUTION),
    ]
    for call, kind in calls:
        with pytest.raises(NotFound):
            await call(new_id(kind))
