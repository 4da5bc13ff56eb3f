"""Requests that come again: answered as the first one was, and carried out once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aetherium.domain.errors import Unavailable
from aetherium.domain.vms import VM
from aetherium.gateway import once
from aetherium.gateway.server import serve_platform
from aetherium.interfaces.idempotency import RequestKey
from aetherium.services.snapshots import SnapshotService
from aetherium.services.vms import VMService
from aetherium.storage.idempotency import SqlIdempotency
from tests.fixtures.platform import fake_platform
from tests.fixtures.waiting import eventually
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.raw import http

KEY = {"idempotency-key": "k1"}
_LEASE_S = 1.0


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx2.AsyncClient]:
    async with http(gateway.socket) as client:
        yield client
        for vm in await gateway.platform.vms.list():
            await gateway.platform.vms.delete(vm.id)


async def test_a_repeat_gets_the_first_answer(gateway: Gateway, client: httpx2.AsyncClient) -> None:
    first = await client.post("/v1/vms", json={"image": "base", "env": {"A": "1", "B": "2"}}, headers=KEY)
    # The same request, written in another way.
    body = '{"env": {"B":"2","A":"1"},"image":"base"}'
    again = await client.post("/v1/vms", content=body, headers={**KEY, "content-type": "application/json"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await gateway.platform.vms.list()) == 1
    other = await client.post("/v1/vms", json={"image": "base"}, headers={"idempotency-key": "k2"})
    assert other.json()["id"] != first.json()["id"]


async def test_another_request_with_the_key_is_refused(client: httpx2.AsyncClient) -> None:
    made = (await client.post("/v1/vms", json={}, headers=KEY)).json()
    refused = await client.post("/v1/vms", json={"ttl_s": 60}, headers=KEY)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_mismatch")
    # The key of one operation says nothing about another.
    forked = await client.post(f"/v1/vms/{made['id']}/fork", json={"count": 2}, headers=KEY)
    assert forked.status_code == 201
    again = await client.post(f"/v1/vms/{made['id']}/fork", json={"count": 2}, headers=KEY)
    assert [vm["id"] for vm in again.json()] == [vm["id"] for vm in forked.json()]


async def test_a_repeat_while_the_first_is_carried_out(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    create = VMService.create

    async def slow(*args: Any, **more: Any) -> VM:
        begun.set()
        await go.wait()
        return await create(*args, **more)

    monkeypatch.setattr(VMService, "create", slow)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        first = group.create_task(client.post("/v1/vms", json={}, headers=KEY))
        await begun.wait()
        busy = (await client.post("/v1/vms", json={}, headers=KEY)).json()
        assert (busy["status"], busy["code"], busy["retryable"]) == (409, "idempotency_in_progress", True)
        go.set()
    again = await client.post("/v1/vms", json={}, headers=KEY)
    assert again.content == first.result().content


@pytest.fixture
async def hasty(data_dir: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a gateway that is soon taken for killed."""
    async with (
        fake_platform(data_dir, background=False, request_lease_s=_LEASE_S) as platform,
        serve_platform(platform, data_dir / "run" / "s", grace_s=1.0),
        http(data_dir / "run" / "s") as client,
    ):
        yield client


async def test_a_lease_is_as_long_as_the_setting_says(
    hasty: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: Any, **__: Any) -> bool:
        """Its gateway was, when it would have kept the answer."""
        return True

    with monkeypatch.context() as patched:
        patched.setattr(SqlIdempotency, "keep", killed)
        first = await hasty.post("/v1/vms", json={}, headers=KEY)
    answers: list[httpx2.Response] = []

    async def answered() -> bool:
        answers.append(await hasty.post("/v1/vms", json={}, headers=KEY))
        return answers[-1].status_code == 201

    await eventually(answered, within_s=5 * _LEASE_S)
    assert {each.json()["code"] for each in answers[:-1]} == {"idempotency_in_progress"}
    assert answers[-1].json()["id"] == first.json()["id"]


async def test_a_request_may_take_longer_than_its_lease(
    hasty: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = VMService.create

    async def slow(*args: Any, **more: Any) -> VM:
        await asyncio.sleep(3 * _LEASE_S)
        return await create(*args, **more)

    monkeypatch.setattr(VMService, "create", slow)
    first = asyncio.ensure_future(hasty.post("/v1/vms", json={}, headers=KEY))
    await asyncio.sleep(2 * _LEASE_S)
    busy = await hasty.post("/v1/vms", json={}, headers=KEY)
    assert busy.json()["code"] == "idempotency_in_progress"
    assert (await first).status_code == 201


async def test_what_failed_is_tried_again(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise Unavailable("No.")

    with monkeypatch.context() as patched:
        patched.setattr(VMService, "create", broken)
        assert (await client.post("/v1/vms", json={}, headers=KEY)).status_code == 503
    assert (await client.post("/v1/vms", json={}, headers=KEY)).status_code == 201


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/vms", {}),
        ("/v1/vms/box/fork", {"count": 2}),
        ("/v1/vms/box/snapshots", {}),
        ("/v1/vms/box/executions?mode=background", {"argv": ["true"]}),
        ("/v1/projects", {"name": "web"}),
        ("/v1/schedules", {"name": "n", "spec": {"every_s": 60, "task": {"type": "system.noop"}}}),
        ("/v1/schedules/known/run", None),
    ],
)
async def test_what_was_made_is_found_though_nobody_was_told(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any] | None
) -> None:
    async def killed(
        repository: SqlIdempotency, request: RequestKey, begun: datetime, *_: Any, **__: Any
    ) -> None:
        """Its gateway was, when it would have kept the answer, and so long ago that its lease is over."""
        await repository.renew(request, begun, lease_s=0)

    await client.post("/v1/vms", json={"name": "box"})
    every = {"every_s": 3600, "task": {"type": "system.noop"}}
    await client.post("/v1/schedules", json={"name": "known", "spec": every})
    with monkeypatch.context() as patched:
        patched.setattr(SqlIdempotency, "keep", killed)
        first = await client.post(path, json=body, headers=KEY)
    again = await client.post(path, json=body, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201), (first.text, again.text)
    assert "idempotency-replayed" not in again.headers
    assert _ids(again.json()) == _ids(first.json())


def _ids(made: Any) -> list[str]:
    return [each["id"] for each in (made if isinstance(made, list) else [made])]


async def test_a_lost_answer_of_a_worker_is_found(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = SnapshotService.create

    async def lost(*args: Any, **more: Any) -> None:
        await snapshot(*args, **more)
        raise Unavailable("The connection was lost.")

    await client.post("/v1/vms", json={"name": "box"})
    with monkeypatch.context() as patched:
        patched.setattr(SnapshotService, "create", lost)
        assert (await client.post("/v1/vms/box/snapshots", headers=KEY)).status_code == 503
    # It may have been made, so the key is this request's.
    other = await client.post("/v1/vms/box/snapshots", json={"name": "s"}, headers=KEY)
    assert other.json()["code"] == "idempotency_mismatch"
    made = await client.post("/v1/vms/box/snapshots", headers=KEY)
    assert made.status_code == 201
    assert [each["id"] for each in (await client.get("/v1/snapshots")).json()["items"]] == [made.json()["id"]]


async def test_progress_has_nothing_to_tell_the_second_time(client: httpx2.AsyncClient) -> None:
    headers = {**KEY, "accept": "application/x-ndjson"}
    first = await client.post("/v1/vms", json={}, headers=headers)
    again = await client.post("/v1/vms", json={}, headers=headers)
    (line,) = again.text.splitlines()
    assert line == first.text.splitlines()[-1]


@pytest.mark.parametrize("mode", ["wait", "background", "stream"])
async def test_a_command_is_run_once(client: httpx2.AsyncClient, mode: str, tmp_path: Any) -> None:
    await client.post("/v1/vms", json={"name": "box"})
    body = {
        "argv": ["sh", "-c", f"echo out; echo x >> {tmp_path}/ran"],
        "secret_env": {"S": "hunter2hunter2"},
    }
    path = f"/v1/vms/box/executions?mode={mode}"
    answers = [await client.post(path, json=body, headers=KEY) for _ in range(2)]
    ids = set()
    for answer in answers:
        assert answer.status_code == (201 if mode == "background" else 200)
        first = json.loads(answer.text.splitlines()[0])
        ids.add(first["id"] if mode == "background" else first["execution"]["id"])
    assert len(ids) == 1
    if mode == "stream":
        for answer in answers:
            assert [json.loads(line).get("text") for line in answer.text.splitlines()][1] == "out\n"
    async with asyncio.timeout(20):
        await client.get(f"/v1/executions/{ids.pop()}?wait=true")
    assert (tmp_path / "ran").read_text() == "x\n"


async def test_an_answer_that_is_too_large_is_not_kept(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "MOST_BYTES", 1000)
    await client.post("/v1/vms", json={"name": "box"})
    body = {"argv": ["sh", "-c", "head -c 2000 /dev/zero"]}
    assert (await client.post("/v1/vms/box/executions", json=body, headers=KEY)).status_code == 200
    again = await client.post("/v1/vms/box/executions", json=body, headers=KEY)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/projects", {"name": "web"}),
        ("/v1/schedules", {"name": "n", "spec": {"every_s": 60, "task": {"type": "system.noop"}}}),
        ("/v1/vms/box/snapshots", {"name": "s"}),
    ],
)
async def test_all_that_makes_something_has_it(
    client: httpx2.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    await client.post("/v1/vms", json={"name": "box"})
    first, again = [await client.post(path, json=body, headers=KEY) for _ in range(2)]
    assert first.status_code == 201, first.text
    assert again.content == first.content
