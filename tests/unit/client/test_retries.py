"""What is tried again, and what never is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium.client.aio import AsyncClient
from aetherium.client.retries import RetryPolicy
from aetherium.client.transport import Transport
from aetherium.domain.errors import (
    AetheriumError,
    ChannelClosed,
    Conflict,
    InvalidInput,
    RateLimited,
    Unavailable,
)
from aetherium.domain.guest import OutputStream
from aetherium.domain.tasks import TaskSpec
from tests.unit.client.gateways import CUT, answer, cut_off, problem, scripted

QUICK = RetryPolicy(attempts=4, base_s=0.001)
OK = answer(200, {"done": True})


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
async def transport(socket: Path) -> AsyncIterator[Transport]:
    transport = Transport(socket, retry=QUICK)
    yield transport
    await transport.close()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "failure",
    [CUT, problem(503, "unavailable"), problem(502, "channel_closed"), answer(502, content=b"<html>")],
)
async def test_what_may_be_repeated_is(
    transport: Transport, socket: Path, method: str, failure: bytes
) -> None:
    async with scripted(socket, [failure, failure, OK]) as requests:
        assert await transport.call(method, "/v1/thing") == {"done": True}
    assert len(requests) == 3


async def test_a_post_is_repeated_with_its_key_and_never_without(transport: Transport, socket: Path) -> None:
    async with scripted(socket, [CUT, OK, CUT]) as requests:
        assert await transport.call("POST", "/v1/things", body={"a": 1}, key="k") == {"done": True}
        with pytest.raises(ChannelClosed):
            await transport.call("POST", "/v1/things", body={"a": 1})
    assert [request.headers.get("idempotency-key") for request in requests] == ["k", "k", None]
    assert {request.body for request in requests} == {b'{"a":1}'}


async def test_what_was_refused_for_now_is_asked_again_when_it_is_time(
    transport: Transport, socket: Path
) -> None:
    slow_down = problem(429, "rate_limited", retry_after="0")
    async with scripted(socket, [slow_down, slow_down, OK]):
        assert await transport.call("POST", "/v1/things") == {"done": True}
    async with scripted(socket, [problem(429, "rate_limited", retry_after="3600")]) as requests:
        with pytest.raises(RateLimited) as refused:
            await transport.call("GET", "/v1/thing")
    assert refused.value.retry_after_s == 3600
    assert len(requests) == 1


async def test_other_errors_come_at_once(transport: Transport, socket: Path) -> None:
    async with scripted(socket, [problem(422, "invalid_input"), answer(500, content=b"x")]) as seen:
        with pytest.raises(InvalidInput):
            await transport.call("GET", "/v1/thing")
        with pytest.raises(AetheriumError, match="500"):
            await transport.call("GET", "/v1/thing")
    assert len(seen) == 2


async def test_tries_and_time_are_bounded(transport: Transport, socket: Path, tmp_path: Path) -> None:
    async with scripted(socket, []) as requests:
        with pytest.raises(ChannelClosed):
            await transport.call("GET", "/v1/thing")
        assert len(requests) == 4
        for policy in (None, RetryPolicy(deadline_s=0.0)):
            impatient = Transport(tmp_path / "s", retry=policy)
            with pytest.raises(ChannelClosed):
                await impatient.call("GET", "/v1/thing")
            await impatient.close()
    assert len(requests) == 6
    with pytest.raises(Unavailable, match="listens"):
        await transport.call("GET", "/v1/thing")


async def test_what_an_earlier_try_has_begun_is_waited_for(transport: Transport, socket: Path) -> None:
    begun = [problem(409, "idempotency_in_progress")] * (QUICK.attempts + 1)
    async with scripted(socket, [CUT, *begun, OK]):
        assert await transport.call("POST", "/v1/things", key="k") == {"done": True}


async def test_a_body_that_is_read_once_is_sent_once(transport: Transport, socket: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"some"

    async with scripted(socket, [CUT, OK]) as requests:
        assert await transport.send("/v1/file", b"some") == {"done": True}
    assert [request.body for request in requests] == [b"some", b"some"]
    async with scripted(socket, [problem(503, "unavailable"), OK]) as requests:
        with pytest.raises(Unavailable):
            await transport.send("/v1/file", pieces())
    assert len(requests) == 1


async def test_what_an_earlier_try_has_deleted_is_no_error(transport: Transport, socket: Path) -> None:
    async with scripted(socket, [CUT, problem(404, "not_found")]):
        assert await transport.call("DELETE", "/v1/thing") is None
    async with scripted(socket, [problem(404, "not_found")]):
        with pytest.raises(AetheriumError):
            await transport.call("DELETE", "/v1/thing")


async def test_a_download_goes_on_where_it_was_cut(transport: Transport, socket: Path) -> None:
    async with scripted(
        socket, [cut_off(b"one ", etag='"1"'), answer(206, content=b"two", etag='"1"')]
    ) as requests:
        assert await transport.read("/v1/file") == b"one two"
    assert (requests[1].headers["range"], requests[1].headers["if-range"]) == ("bytes=4-", '"1"')


async def test_a_download_is_never_put_together_of_two_files(transport: Transport, socket: Path) -> None:
    async with scripted(socket, [cut_off(b"one ", etag='"1"'), answer(200, content=b"other")]):
        with pytest.raises(Conflict, match="changed"):
            await transport.read("/v1/file")
    async with scripted(socket, [cut_off(b"one "), answer(200, content=b"other")]) as requests:
        with pytest.raises(ChannelClosed):
            await transport.read("/v1/file")
    assert len(requests) == 1


def _line(**value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


async def test_output_goes_on_behind_what_was_read(tmp_path: Path) -> None:
    first = cut_off(
        _line(stream="stdout", offset=0, text="one ") + _line(stream="stderr", offset=0, text="!")
    )
    drained = answer(200, content=_line(error={"code": "unavailable", "detail": "It is shutting down."}))
    last = answer(
        200, content=_line(stream="stdout", offset=4, text="two") + _line(result={"state": "exited"})
    )
    async with (
        scripted(tmp_path / "s", [first, drained, last]) as requests,
        AsyncClient.unix(tmp_path / "s", retry=QUICK) as client,
        client.executions.follow("ex_1") as output,
    ):
        read = [chunk.data async for chunk in output if chunk.stream is OutputStream.STDOUT]
        assert output.result is not None
    assert b"".join(read) == b"one two"
    assert [request.line.partition("?")[2] for request in requests] == [
        "stdout_offset=0&stderr_offset=0",
        "stdout_offset=4&stderr_offset=1",
        "stdout_offset=4&stderr_offset=1",
    ]


async def test_a_stream_without_progress_ends(tmp_path: Path) -> None:
    async with (
        scripted(tmp_path / "s", [cut_off(b"")] * 20) as requests,
        AsyncClient.unix(tmp_path / "s", retry=QUICK) as client,
        client.executions.follow("ex_1") as output,
    ):
        with pytest.raises(ChannelClosed):
            await anext(aiter(output))
    assert len(requests) == QUICK.attempts


async def test_events_go_on_behind_the_last_one(tmp_path: Path) -> None:
    def event(seq: int) -> bytes:
        return _line(
            id=f"evt_{seq}",
            type="task.done",
            subject="t",
            project_id="p",
            at="2026-01-01T00:00:00Z",
            data={},
            seq=seq,
        )

    answers = [cut_off(event(7)), CUT, answer(200, content=event(8))]
    async with (
        scripted(tmp_path / "s", answers) as requests,
        AsyncClient.unix(tmp_path / "s", retry=QUICK) as client,
    ):
        assert [found.seq async for found in client.events.iterate(after=6)] == [7, 8]
    assert ["after=7" in request.line for request in requests] == [False, True, True]


async def test_each_create_has_a_key_of_its_own(tmp_path: Path) -> None:
    async with (
        scripted(tmp_path / "s", [problem(422, "invalid_input")] * 3) as requests,
        AsyncClient.unix(tmp_path / "s", retry=QUICK) as client,
    ):
        for key in ("", "", "mine"):
            with pytest.raises(InvalidInput):
                await client.tasks.submit(TaskSpec("system.noop"), idempotency_key=key)
    keys = [request.headers["idempotency-key"] for request in requests]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"
