"""Sizes and times: large and slow bodies, large and slow heads, long work; and pages of other sites."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from aetherium.domain.vms import VMSpec
from aetherium.gateway import protocols
from tests.fixtures.platform import data_dir
from tests.integration.gateway.served import Served, bearer, served

__all__ = ["data_dir"]

VMS, TASKS = "/v1/vms", "/v1/tasks"
NOOP = {"spec": {"type": "system.noop"}}
MIB = 1 << 20
DEADLINE_S = 5.0


@pytest.fixture
async def here(data_dir: Path) -> AsyncIterator[Served]:
    async with served(data_dir, max_body_mib=1, body_timeout_s=0.3) as gateway:
        yield gateway


async def said(here: Served, *pieces: bytes) -> bytes:
    """What the gateway answers to these bytes until it closes the connection."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(*here.address)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


def post(path: str, key: str, *headers: str) -> bytes:
    """The head of a request."""
    lines = [f"POST {path} HTTP/1.1", "host: x", f"authorization: Bearer {key}", *headers]
    return "\r\n".join([*lines, "content-type: application/json", "", ""]).encode()


async def _pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * MIB


async def test_a_body_is_too_large_by_what_it_says_and_by_what_it_is(here: Served) -> None:
    head = post(VMS, await here.key(), f"content-length: {9 * MIB}")
    answer = await said(here, head)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"limit_exceeded" in answer
    assert b"connection: close" in answer
    chunk = b"%x\r\n%s\r\n" % (MIB // 2, b" " * (MIB // 2))
    answer = await said(here, post(VMS, await here.key(), "transfer-encoding: chunked"), chunk, chunk, chunk)
    assert answer.startswith(b"HTTP/1.1 413")


async def test_files_and_archives_may_be_larger(here: Served) -> None:
    headers = bearer(await here.key())
    await here.platform.vms.create(VMSpec(name="box"))
    target = f"{VMS}/box/files/content"
    done = await here.http.put(target, params={"path": "/tmp/x"}, headers=headers, content=_pieces(3))
    assert (done.status_code, done.json()["size"]) == (200, 3 * MIB)


@pytest.mark.parametrize("sent", [b"", b"{"])
async def test_a_body_that_does_not_come_is_not_waited_for(here: Served, sent: bytes) -> None:
    answer = await said(here, post(VMS, await here.key(), "content-length: 10"), sent)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"deadline_exceeded" in answer


async def test_a_refused_body_is_not_read(here: Served) -> None:
    answer = await said(here, post(VMS, "nonsense", "content-length: 10"))
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"connection: close" in answer


async def test_what_takes_too_long_is_given_up(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = asyncio.Event()

    async def slow(*_: object, **__: object) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with served(data_dir, request_timeout_s=1.0) as here:
        monkeypatch.setattr(type(here.platform.vms), "pause", slow)
        answer = await here.http.post(
            f"{VMS}/vm_0000000000000000/pause", headers=bearer(await here.key(None))
        )
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    assert ended.is_set()


async def test_streams_and_what_is_waited_for_take_as_long_as_they_like(data_dir: Path) -> None:
    async with served(data_dir, request_timeout_s=0.5) as here:
        vm = await here.platform.vms.create(VMSpec(name="box"))
        run, headers = {"argv": ["sh", "-c", "sleep 0.8; echo done"]}, bearer(await here.key())
        path = f"{VMS}/{vm.id}/executions"
        await here.http.get(path, headers=headers)  # what is made on first use takes a while
        ran = await here.http.post(path, params={"mode": "stream"}, json=run, headers=headers)
        assert "done" in ran.text
        begun = await here.http.post(path, params={"mode": "background"}, json=run, headers=headers)
        waited = await here.http.get(
            f"/v1/executions/{begun.json()['id']}", params={"wait": "true"}, headers=headers
        )
        assert waited.json()["state"] == "exited"


async def test_a_head_is_too_large(here: Served) -> None:
    for head in (
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 200_000,
        b"GET /healthz HTTP/1.1\r\nx: " + b"y" * MIB,
        b"GET /" + b"y" * MIB,
    ):
        pieces = [head[start : start + 4096] for start in range(0, len(head), 4096)]
        answer = await said(here, *pieces)
        assert not answer or answer.startswith(b"HTTP/1.1 431")


async def test_a_head_in_one_piece_is_too_large(here: Served) -> None:
    answer = await said(here, b"GET /healthz HTTP/1.1\r\nx: " + b"y" * 70_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431")


async def test_trailers_are_bounded_too(here: Served) -> None:
    head = post(VMS, await here.key(), "transfer-encoding: chunked")
    answer = await said(here, head, b"2\r\n{}\r\n0\r\nx: ", *[b"y" * 4096] * 40)
    assert not answer or answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 408"))


async def test_a_head_that_does_not_come_is_not_waited_for(
    here: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "HEAD_S", 0.1)
    for sent in (b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /he"):
        answer = await said(here, sent)
        assert not answer or answer.startswith(b"HTTP/1.1 200")


async def test_an_idle_connection_is_used_again(here: Served) -> None:
    for _ in range(3):
        assert (await here.http.get("/healthz")).status_code == 200


async def test_connections_are_bounded(data_dir: Path) -> None:
    async with served(data_dir, max_connections=1) as here:
        reader, writer = await asyncio.open_connection(*here.address)
        try:
            assert (await here.http.get("/healthz")).status_code == 503
            assert (await here.local.get("/healthz")).status_code == 200
        finally:
            writer.close()
        del reader


async def test_every_answer_is_safe_in_a_browser(here: Served) -> None:
    for path in ("/healthz", VMS, "/v1/nothing", "/openapi.json"):
        headers = (await here.http.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert "strict-transport-security" not in headers
        assert headers.get("cache-control") == ("no-store" if path.startswith("/v1") else None)
        assert "access-control-allow-origin" not in headers
    docs = (await here.http.get("/docs")).headers
    assert len(docs.get_list("content-security-policy")) == 1


EVIL = "https://evil.example"


async def test_pages_of_other_sites_change_nothing(here: Served) -> None:
    headers = bearer(await here.key(), origin=EVIL)
    for client in (here.http, here.local):
        refused = await client.post(VMS, headers=headers, json={"name": "box"})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    preflight = await here.http.options(
        VMS, headers={"origin": EVIL, "access-control-request-method": "POST"}
    )
    assert preflight.status_code == 401
    assert "access-control-allow-origin" not in preflight.headers
    assert await here.platform.vms.list() == []


async def test_a_page_from_the_gateway_itself_may_but_not_over_the_unix_socket(here: Served) -> None:
    headers = bearer(await here.key())
    for origin, status in (
        (here.url, 201),
        ("null", 403),
        (f"{here.url}0", 403),
        ("https" + here.url.removeprefix("http"), 403),
        ("http://127.0.0.1", 403),
        ("http://127.0.0.1:x", 403),
    ):
        answer = await here.http.post(TASKS, headers={**headers, "origin": origin}, json=NOOP)
        assert answer.status_code == status, origin
    rebound = await here.local.post(TASKS, headers={"origin": "http://aetherium"}, json=NOOP)
    assert rebound.status_code == 403


async def test_websockets_of_other_sites_are_not_opened(here: Served) -> None:
    url = f"ws{here.url.removeprefix('http')}/v1/vms/none/terminal"
    key = bearer(await here.key())
    with pytest.raises(InvalidStatus) as caught:
        await connect(url, additional_headers=key, origin=EVIL).__aenter__()  # type: ignore[arg-type]
    assert caught.value.response.status_code == 403
    async with connect(url, additional_headers=key, origin=here.url):  # type: ignore[arg-type]
        pass


async def test_pages_that_are_named_may_use_the_api(data_dir: Path) -> None:
    page = "https://app.example"
    async with served(data_dir, cors_origins=(page,)) as here:
        preflight = await here.http.options(
            VMS,
            headers={
                "origin": page,
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization, aetherium-project",
            },
        )
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == page
        made = await here.http.post(TASKS, headers=bearer(await here.key(), origin=page), json=NOOP)
        assert (made.status_code, made.headers["access-control-allow-origin"]) == (201, page)
        refused = await here.http.get(VMS, headers={"origin": page})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, page)
        other = await here.http.post(VMS, headers=bearer(await here.key(), origin=EVIL), json={})
        assert other.status_code == 403
        assert "access-control-allow-origin" not in other.headers
