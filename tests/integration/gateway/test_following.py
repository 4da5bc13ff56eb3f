"""Streams that are followed: Server-Sent Events that resume, keep-alives, clients that stop reading."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import unix_connect

from aetherium.client.aio import AsyncClient
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.jobs import JobSpec, JobStep
from aetherium.domain.tasks import TaskSpec
from aetherium.domain.vms import VM, VMSpec
from aetherium.gateway import streams
from aetherium.gateway.server import serve_platform
from tests.fixtures.platform import fake_platform
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.raw import Event, Unread, call, events

_DEADLINE_S = 20
_SCRIPT = "for i in 1 2 3 4 5; do echo out$i; echo err$i >&2; done"


async def _all(socket: Path, path: str, last: str = "") -> list[Event]:
    async with asyncio.timeout(_DEADLINE_S), events(socket, path, last=last) as found:
        return [event async for event in found]


def _text(found: list[Event], stream: str) -> str:
    return "".join(e.data["text"] for e in found if e.kind == "output" and e.data["stream"] == stream)


async def test_output_resumes_behind_any_event(gateway: Gateway, client: AsyncClient, vm: VM) -> None:
    done, stdout, stderr = await client.executions.run("box", ExecutionSpec(("sh", "-c", _SCRIPT)))
    path = f"/v1/executions/{done.id}/output"
    whole = await _all(gateway.socket, path)
    assert (_text(whole, "stdout"), _text(whole, "stderr")) == (stdout.decode(), stderr.decode())
    assert [event.kind for event in whole][-1] == "result"
    for count, event in enumerate(whole[:-1], 1):
        rest = await _all(gateway.socket, path, last=event.id)
        for stream in ("stdout", "stderr"):
            assert _text(whole[:count] + rest, stream) == _text(whole, stream)
        assert rest[-1].data["result"]["exit_code"] == 0
    middle = await _all(gateway.socket, path, last="out:3,err:30")
    assert (_text(middle, "stdout"), _text(middle, "stderr")) == (stdout.decode()[3:], "")
    assert middle[-1].id == f"out:{len(stdout)},err:30,end"


async def test_a_client_that_has_all_is_told_not_to_come_again(gateway: Gateway, vm: VM) -> None:
    headers = {"accept": "text/event-stream", "last-event-id": "out:9,err:0,end"}
    found = await call(gateway.socket, "GET", "/v1/executions/ex_0/output", headers=headers)
    assert (found.status_code, found.content) == (204, b"")


async def test_a_command_is_run_and_followed_in_one_request(gateway: Gateway, vm: VM) -> None:
    body = {"argv": ["sh", "-c", "printf 'a\\377'; exit 3"]}
    async with events(
        gateway.socket, "/v1/vms/box/executions?mode=stream", method="POST", json=body
    ) as found:
        first, output, last = [event async for event in found]
    assert first.data["execution"]["vm_id"] == vm.id
    assert (first.id, output.id) == ("out:0,err:0", "out:2,err:0")
    assert output.data["base64"] == "Yf8="
    assert last.data["result"]["exit_code"] == 3


async def test_the_log_of_events_resumes(data_dir: Path) -> None:
    there = data_dir / "run" / "s"
    async with (
        asyncio.timeout(_DEADLINE_S),
        fake_platform(data_dir, background=True) as platform,
        serve_platform(platform, there, grace_s=1.0),
    ):
        for task in await platform.tasks.submit_many([TaskSpec("system.noop")] * 2):
            await platform.tasks.wait(task.id)
        async with platform.events.follow(types={"task.*"}) as seen:
            known = [await anext(seen) for _ in range(2)]
        path = "/v1/events?follow=false&type=task.*"
        whole = await _all(there, path)
        assert [(e.id, e.kind) for e in whole[:2]] == [(str(k.seq), k.type) for k in known]
        assert await _all(there, path, last=whole[0].id) == whole[1:]
        assert await _all(there, f"{path}&latest=3", last=whole[-1].id) == []


async def test_an_id_of_another_stream_is_refused(gateway: Gateway) -> None:
    headers = {"accept": "text/event-stream", "last-event-id": "out:1,err:2"}
    found = await call(gateway.socket, "GET", "/v1/events", headers=headers)
    assert (found.status_code, found.json()["details"]["field"]) == (422, "Last-Event-ID")


async def test_a_jobs_log_is_followed_by_step(gateway: Gateway) -> None:
    steps = (JobStep("a", run="echo one; echo two"), JobStep("b", run="echo three"))
    job = await gateway.platform.jobs.submit(JobSpec(steps, patch=False))
    path = f"/v1/jobs/{job.id}/events"
    found = await _all(gateway.socket, f"{path}?kind=output&step=b")
    assert {event.kind for event in found} == {"output", "finished"}, found
    assert "".join(event.data["data"]["text"] for event in found[:-1]) == "three\n"
    assert found[-1].id.endswith(",end")
    whole = await _all(gateway.socket, path)
    assert await _all(gateway.socket, path, last=whole[2].id) == whole[3:]


async def test_changes_are_watched(gateway: Gateway, vm: VM, tmp_path: Path) -> None:
    path = f"/v1/vms/box/files/watch?path={tmp_path}"
    async with asyncio.timeout(_DEADLINE_S), events(gateway.socket, path) as found:
        assert (await anext(found)).kind == "watching"
        (tmp_path / "new").write_bytes(b"")
        async for event in found:
            if event.data["path"].endswith("new"):
                assert (event.kind, event.id) == ("change", "")
                return


async def test_a_quiet_stream_shows_that_it_lives(
    gateway: Gateway, vm: VM, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.01)
    path = f"/v1/vms/box/files/watch?path={tmp_path}"
    async with asyncio.timeout(_DEADLINE_S), events(gateway.socket, path) as found:
        kinds = [(await anext(found)).kind for _ in range(3)]
    assert kinds == ["watching", "", ""]


async def test_an_error_behind_the_first_event_is_an_event(gateway: Gateway, client: AsyncClient) -> None:
    vm = await client.vms.create(VMSpec())
    started = await client.executions.start(vm.id, ExecutionSpec(("sh", "-c", "echo on; exec sleep 60")))
    async with (
        asyncio.timeout(_DEADLINE_S),
        events(gateway.socket, f"/v1/executions/{started.id}/output") as found,
    ):
        assert (await anext(found)).data["text"] == "on\n"
        await client.vms.delete(vm.id)
        last = [event async for event in found][-1]
    assert last.kind in ("problem", "result")
    assert last.data.get("code") or last.data["result"]["state"] == "lost"


@pytest.fixture
def impatient(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a gateway is going to listen that does not wait long for who does not read."""
    monkeypatch.setattr(streams, "SEND_S", 0.2)
    return data_dir / "run" / "s"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/vms/box/executions?mode=stream", '{"argv": ["yes"]}'),
        ("GET", "/v1/vms/box/files/content?path={big}", ""),
    ],
)
async def test_who_does_not_read_is_cut_off(
    impatient: Path, data_dir: Path, method: str, path: str, body: str
) -> None:
    big = data_dir / "big"
    big.write_bytes(bytes(8 << 20))
    async with _box(impatient, data_dir):
        with Unread(impatient) as connection:
            connection.request(method, path.format(big=big), body)
            await connection.closed()


async def test_a_terminal_that_nobody_reads_is_hung_up(impatient: Path, data_dir: Path) -> None:
    async with _box(impatient, data_dir) as client:
        async with unix_connect(str(impatient), "ws://x/v1/vms/box/terminal", max_queue=1) as terminal:
            await terminal.send(json.dumps({"argv": ["yes"], "terminal": {"rows": 24, "columns": 80}}))
            await terminal.recv()
            (execution,) = await client.executions.list("box")
            done = await client.executions.wait(execution.id)
        assert done.result is not None
        assert done.result.signal == 1


@asynccontextmanager
async def _box(there: Path, data_dir: Path) -> AsyncIterator[AsyncClient]:
    async with (
        asyncio.timeout(2 * _DEADLINE_S),
        fake_platform(data_dir, background=False) as platform,
        serve_platform(platform, there, grace_s=1.0),
        AsyncClient.unix(there) as client,
    ):
        await client.vms.create(VMSpec(name="box"))
        yield client
        await client.vms.delete("box")
