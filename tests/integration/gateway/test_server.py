"""Serving: one at a time, stale sockets, draining, private places, raw requests."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aetherium.bootstrap import open_gateway
from aetherium.client.aio import AsyncClient
from aetherium.domain.errors import ChannelClosed, Conflict, InvalidInput, Unavailable
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.vms import VM, VMSpec
from aetherium.gateway.server import listening, place, serve_platform
from aetherium.settings import Settings
from tests.fixtures.platform import fake_platform, tiny_images
from tests.integration.gateway.conftest import Gateway


async def test_a_second_one_is_refused_and_a_stale_socket_is_replaced(data_dir: Path) -> None:
    await tiny_images(data_dir / "images")
    settings = Settings(data_dir=data_dir, drivers=("fake",), listen="")
    await asyncio.to_thread(_leave_stale, settings.socket)
    async with open_gateway(settings, background=True) as opened:
        socket = opened.socket
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        async with AsyncClient.unix(socket) as client:
            assert (await client.health())["pid"] == os.getpid()
        with pytest.raises(Conflict, match=str(os.getpid())):
            async with open_gateway(settings, background=True):
                pass
        async with (
            open_gateway(settings, background=False) as private,
            AsyncClient.unix(private.socket) as client,
        ):
            assert await client.vms.list() == []
    assert not settings.socket.exists()
    assert [path.name for path in settings.sockets.iterdir()] == ["aetherium.lock"]


def _leave_stale(socket: Path) -> None:
    """A socket that nobody listens at, as a killed process leaves it."""
    with listening(socket):
        os.link(socket, socket.with_name("stale"))
    socket.with_name("stale").rename(socket)


def test_private_places_of_killed_processes_are_removed(data_dir: Path) -> None:
    left = data_dir / "cli-left"
    left.mkdir()
    (left / "lock").touch()
    os.utime(left, (0, 0))
    with place(data_dir, None) as path:
        assert not left.exists()
        assert path.parent.is_dir()
    assert list(data_dir.iterdir()) == []


def test_a_path_that_the_kernel_does_not_take_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="too long"), listening(tmp_path / ("x" * 100) / "s"):
        pass


async def test_streams_end_with_a_reason_when_the_gateway_drains(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform:
        socket = data_dir / "run" / "s"
        async with AsyncClient.unix(socket) as client:
            async with asyncio.timeout(30), serve_platform(platform, socket, grace_s=1.0):
                await client.vms.create(VMSpec(name="box"))
                stream = client.executions.stream("box", ExecutionSpec(("sh", "-c", "echo on; sleep 60")))
                output = await stream.__aenter__()
                chunks = output.__aiter__()
                await anext(chunks)
            with pytest.raises((Unavailable, ChannelClosed)):
                await anext(chunks)
            await stream.__aexit__(None, None, None)
            with pytest.raises(Unavailable, match="listens"):
                await client.health()
        await platform.vms.delete("box")


async def _raw(gateway: Gateway, method: str, path: str, **more: Any) -> httpx2.Response:
    transport = httpx2.AsyncHTTPTransport(uds=str(gateway.socket))
    async with httpx2.AsyncClient(transport=transport, base_url="http://x") as http:
        return await http.request(method, path, **more)


async def test_bad_requests_are_problem_documents(gateway: Gateway, vm: VM) -> None:
    cases: list[tuple[str, str, dict[str, Any], int, str]] = [
        ("GET", "/nowhere", {}, 404, "not_found"),
        ("PATCH", "/v1/vms", {}, 405, "method_not_allowed"),
        ("POST", "/v1/vms", {"content": b"{"}, 422, "invalid_input"),
        ("POST", "/v1/vms", {"json": []}, 422, "invalid_input"),
        ("POST", "/v1/vms", {"json": {"imgae": "base"}}, 422, "invalid_input"),
        ("POST", "/v1/vms", {"json": {"resources": {"vcpus": 0}}}, 422, "invalid_input"),
        ("POST", "/v1/vms", {"json": {"name": "Ä B"}}, 422, "invalid_input"),
        ("GET", "/v1/vms?limit=0", {}, 422, "invalid_input"),
        ("GET", "/v1/vms?state=flying", {}, 422, "invalid_input"),
        ("GET", "/v1/vms?label=x", {}, 422, "invalid_input"),
        ("POST", "/v1/vms/box/executions", {"json": {"argv": []}}, 422, "invalid_input"),
        ("POST", "/v1/vms/box/executions", {"json": {"argv": ["a\0"]}}, 422, "invalid_input"),
        ("POST", "/v1/vms/box/fork", {"json": {"count": -1}}, 422, "invalid_input"),
        ("GET", "/v1/vms/box/files/stat?path=/nope", {}, 404, "guest_error"),
        ("GET", "/v1/vms/box/files/stat", {}, 422, "invalid_input"),
        ("GET", "/v1/executions/ex_0/output", {}, 404, "not_found"),
        ("DELETE", "/v1/vms/%00", {}, 404, "not_found"),
        ("GET", "/v1/images/no/such:image", {}, 404, "not_found"),
    ]
    for method, path, more, status, code in cases:
        response = await _raw(gateway, method, path, **more)
        problem = response.json()
        assert (response.status_code, problem["code"]) == (status, code), (path, problem)
        assert response.headers["content-type"] == "application/problem+json"
        assert problem["detail"]


async def test_an_unknown_key_is_named_with_the_nearest(gateway: Gateway) -> None:
    problem = (await _raw(gateway, "POST", "/v1/vms", json={"resources": {"memory_mb": 1}})).json()
    assert "memory_mb" in problem["detail"]
    assert "memory_mib" in problem["hint"]


async def test_secrets_and_handles_do_not_come_back(gateway: Gateway, vm: VM) -> None:
    body = {"argv": ["sh", "-c", "echo $TOKEN"], "secret_env": {"TOKEN": "hunter2hunter2"}}
    response = await _raw(gateway, "POST", "/v1/vms/box/executions", json=body)
    assert "hunter2hunter2" not in response.text
    assert response.json()["execution"]["secret_names"] == ["TOKEN"]
    found = (await _raw(gateway, "GET", "/v1/vms/box")).json()
    assert {"handle", "owner"}.isdisjoint(found)


async def test_what_is_not_foreseen_is_an_incident_without_a_traceback(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise KeyError("very private")

    monkeypatch.setattr(type(gateway.platform.vms), "list", broken)
    response = await _raw(gateway, "GET", "/v1/vms")
    assert response.status_code == 500
    assert response.json()["details"]["incident"] in response.json()["hint"]
    assert "very private" not in response.text


async def test_openapi_describes_every_route(gateway: Gateway) -> None:
    document = json.loads((await _raw(gateway, "GET", "/openapi.json")).content)
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description"), (method, path)
    assert document["components"]["schemas"]["VM"]["properties"]["state"]


async def test_progress_is_streamed_and_a_client_that_goes_takes_its_request_back(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow(*_: object, progress: object, **__: object) -> None:
        assert callable(progress)
        progress("Booting")
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(type(gateway.platform.vms), "create", slow)
    async with AsyncClient.unix(gateway.socket) as client, asyncio.timeout(20):
        steps: list[str] = []
        creating = asyncio.ensure_future(client.vms.create(VMSpec(), progress=steps.append))
        await begun.wait()
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        await ended.wait()
