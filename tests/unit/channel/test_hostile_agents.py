"""Agents that lie, flood and hang up: the host gets a typed error and stays small."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aetherium.channel import Connector, connection, files
from aetherium.domain.errors import ChannelClosed, LimitExceeded, ProtocolViolation, VMUnresponsive
from aetherium.domain.executions import ExecutionSpec
from aetherium.protocol import frames as f
from aetherium.protocol.pack import pack
from tests.unit.channel.agents import INFO, Peer, connected, scripted

SPEC = ExecutionSpec(("cat",), stdin=True)
RESULT = {
    "state": "exited", "code": 0, "signal": None, "oom": False, "duration": 0.1, "stdout": 0, "stderr": 0,
    "user": 0.0, "system": 0.0, "rss": 0, "error": "", "errno": "",
}  # fmt: skip
STAT = {"path": "/x", "kind": "file", "size": 1, "mode": 1, "uid": 0, "gid": 0, "mtime_ns": 0, "target": ""}


# -- handshake


async def endless_garbage(peer: Peer) -> None:
    while True:
        peer.writer.write(os.urandom(65536))
        await peer.writer.drain()


async def silence(peer: Peer) -> None:
    await peer.hold()


async def hang_up(peer: Peer) -> None:
    await peer.frame()


async def wrong_nonce(peer: Peer) -> None:
    await peer.frame()
    peer.writer.write(f.welcome(bytes(16)))
    await peer.hold()


async def other_version(peer: Peer) -> None:
    _, _, _, payload = await peer.frame()
    peer.writer.write(f.welcome(f.parse_hello(payload)[0], 0))
    await peer.hold()


async def malformed_info(peer: Peer) -> None:
    _, _, _, payload = await peer.frame()
    peer.writer.write(f.welcome(f.parse_hello(payload)[0]))
    peer.send(f.INFO, 0, pack(INFO | {"capabilities": 7}))
    await peer.hold()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (endless_garbage, ProtocolViolation),
        (silence, VMUnresponsive),
        (hang_up, VMUnresponsive),
        (wrong_nonce, VMUnresponsive),
        (other_version, ProtocolViolation),
        (malformed_info, ProtocolViolation),
    ],
)
async def test_handshakes(tmp_path: Path, script: Callable[[Peer], Any], error: type[Exception]) -> None:
    async with scripted(tmp_path, script) as endpoint:
        with pytest.raises(error):
            await Connector().connect([endpoint], timeout_s=1)


async def test_nobody_there(tmp_path: Path) -> None:
    async with scripted(tmp_path, silence) as endpoint:
        pass
    with pytest.raises(VMUnresponsive):
        await Connector().connect([endpoint], timeout_s=0.2)


# -- streams


async def floods(peer: Peer) -> None:
    """More DATA than there is credit for."""
    await peer.greet()
    stream, _, _ = await peer.request()
    for _ in range(100):
        peer.send(f.DATA, stream, bytes(f.MAX_PAYLOAD))
    await peer.hold()


async def floods_with_nothing(peer: Peer) -> None:
    await peer.greet()
    stream, _, _ = await peer.request()
    peer.send(f.DATA, stream, b"")
    await peer.hold()


async def floods_with_crumbs(peer: Peer) -> None:
    """Frames of one byte fill the window as if they were larger: they need that much memory."""
    await peer.greet()
    stream, _, _ = await peer.request()
    for _ in range(1 + files.WINDOW // f.LEAST_COST):
        peer.send(f.DATA, stream, b"x")
    await peer.hold()


async def never_opened(peer: Peer) -> None:
    await peer.greet()
    stream, _, _ = await peer.request()
    peer.send(f.DATA, stream + 1000, b"x")
    await peer.hold()


async def unknown_type(peer: Peer) -> None:
    await peer.greet()
    stream, _, _ = await peer.request()
    peer.send(99, stream, b"x")
    await peer.hold()


async def unknown_control(peer: Peer) -> None:
    await peer.greet()
    await peer.request()
    peer.send(99, 0)
    await peer.hold()


async def no_value(peer: Peer) -> None:
    await peer.greet()
    stream, _, _ = await peer.request()
    peer.send(f.RESPONSE, stream, b"\xc1")
    await peer.hold()


async def malformed_credit(peer: Peer) -> None:
    await peer.greet()
    stream, _, _ = await peer.request()
    peer.send(f.CREDIT, stream, b"\xff" * 9)
    await peer.hold()


async def malformed_failure(peer: Peer) -> None:
    await peer.greet()
    stream, _, _ = await peer.request()
    peer.send(f.FAILURE, stream, pack([1, 2]))
    await peer.hold()


async def gives_notice(peer: Peer) -> None:
    await peer.greet()
    await peer.request()
    peer.send(f.ERROR, 0, b"because")
    await peer.hold()


async def garbage_later(peer: Peer) -> None:
    await peer.greet()
    await peer.request()
    peer.writer.write(b"\0" * 100)
    await peer.hold()


async def _read_slowly(directory: Path, script: Callable[[Peer], Any]) -> None:
    async with connected(directory, script) as guest:
        reading = guest.read("/x")
        await anext(reading)
        async for _ in reading:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "script",
    [
        floods,
        floods_with_nothing,
        floods_with_crumbs,
        never_opened,
        unknown_type,
        unknown_control,
        no_value,
        malformed_credit,
        malformed_failure,
        gives_notice,
        garbage_later,
    ],
)
async def test_broken_rules(tmp_path: Path, script: Callable[[Peer], Any]) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(ProtocolViolation):
            await _read_slowly(tmp_path, script)


async def test_more_than_was_asked_for(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, _, _ = await peer.request()
        peer.send(f.DATA, stream, b"0123456789")
        await peer.hold()

    async with connected(tmp_path, script) as guest:
        with pytest.raises(ProtocolViolation, match="more than was asked for"):
            await anext(guest.read("/x", length=5))


async def test_endless_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LISTED_BYTES", 1 << 20)
    batch = pack([STAT] * 300)

    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, _, _ = await peer.request()
        credit = files.WINDOW
        while True:
            while credit >= len(batch):
                peer.send(f.EVENT, stream, batch)
                credit -= len(batch)
            credit += int.from_bytes((await peer.until(f.CREDIT))[3], "big")

    async with asyncio.timeout(20), connected(tmp_path, script) as guest:
        with pytest.raises(LimitExceeded):
            await guest.list("/x")


@pytest.mark.parametrize("event", [7, [7], [{"kind": "invented", "path": "/x"}], [{}], {"kind": "created"}])
async def test_malformed_events(tmp_path: Path, event: Any) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, _, _ = await peer.request()
        peer.send(f.EVENT, stream, pack([{}]))
        peer.send(f.EVENT, stream, pack(event))
        await peer.hold()

    async with connected(tmp_path, script) as guest:
        with pytest.raises(ProtocolViolation):
            async with guest.watch("/x") as events:
                await anext(events)


@pytest.mark.parametrize("answer", [None, {}, {"pid": "x"}, {"pid": [1]}, [], 5])
async def test_malformed_answers(tmp_path: Path, answer: Any) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        while True:
            stream, _, _ = await peer.request()
            peer.answer(stream, answer)

    async with connected(tmp_path, script) as guest:
        for call in (guest.start("x", SPEC), guest.metrics(), guest.stat("/x")):
            with pytest.raises(ProtocolViolation):
                await call


async def test_pings_without_end_and_nobody_who_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_UNSENT", 1 << 20)

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.request()
        while True:
            peer.writer.write(f.encode(f.PING, 0, bytes(64)) * 1000)
            await peer.writer.drain()

    async with asyncio.timeout(20), connected(tmp_path, script) as guest:
        with pytest.raises(ChannelClosed, match="does not read"):
            await guest.move("/a", "/b")


async def test_hanging_up_again_and_again(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.request()

    async with asyncio.timeout(20), connected(tmp_path, script) as guest:
        with pytest.raises(ChannelClosed, match="times within"):
            await anext(guest.read("/x"))
    async with (
        asyncio.timeout(20),
        connected(tmp_path, script) as guest,
        guest.launch("x", SPEC) as attachment,
    ):
        with pytest.raises(ChannelClosed, match="times within"):
            await attachment.result()


# -- executions


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([(f.OUTPUT, b"short", 0)], "something else"),
        ([(f.DATA, b"x" * 20, 0)], "something else"),
        ([(f.OUTPUT, (5).to_bytes(8, "big") + b"abc", 0), (f.OUTPUT, bytes(8) + b"a", 0)], "repeated"),
        ([(f.EVENT, pack({"stdin": "many"}), 0)], "stdin"),
        ([(f.EVENT, pack({"stdin": -1}), 0)], "stdin"),
        ([(f.EVENT, pack([1]), 0)], "stdin"),
        ([(f.RESPONSE, pack({"state": "happy"}), 0)], "malformed"),
        ([(f.RESPONSE, pack(RESULT | {"duration": "long"}), 0)], "malformed"),
    ],
)
async def test_lies_about_an_execution(
    tmp_path: Path, frames: list[tuple[int, bytes, int]], message: str
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, _, _ = await peer.request()
        for kind, payload, flags in frames:
            peer.send(kind, stream, payload, flags)
        await peer.hold()

    async with (
        asyncio.timeout(10),
        connected(tmp_path, script) as guest,
        guest.launch("x", SPEC) as attachment,
    ):
        with pytest.raises(ProtocolViolation, match=message):
            await attachment.result()


@pytest.mark.parametrize("taken", [6, 200_000, 2**62])
async def test_lies_about_stdin_after_a_cut(tmp_path: Path, taken: int) -> None:
    async def first(peer: Peer) -> None:
        await peer.greet()
        stream, _, _ = await peer.request()
        peer.send(f.EVENT, stream, pack({"stdin": 0}))
        await peer.until(f.DATA)

    async def second(peer: Peer) -> None:
        await peer.greet()
        stream, _, _ = await peer.request()
        peer.send(f.EVENT, stream, pack({"stdin": taken}))
        await peer.hold()

    async with (
        asyncio.timeout(10),
        connected(tmp_path, first, second) as guest,
        guest.launch("x", SPEC) as attachment,
    ):
        await attachment.write_stdin(b"hello")
        with pytest.raises(ProtocolViolation, match="claims"):
            await attachment.result()


async def test_output_far_ahead_is_a_gap(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, _, _ = await peer.request()
        peer.send(f.OUTPUT, stream, (2**64 - 10).to_bytes(8, "big") + b"abc", f.FLAG_STDERR)
        peer.answer(stream, RESULT)
        await peer.hold()

    async with connected(tmp_path, script) as guest, guest.launch("x", SPEC) as attachment:
        assert [(chunk.stream.value, chunk.offset, chunk.data) async for chunk in attachment] == [
            ("stderr", 2**64 - 10, b"abc")
        ]
