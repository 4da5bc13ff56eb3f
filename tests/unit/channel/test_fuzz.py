"""Whatever an agent sends, every call of the host ends, with a value or a typed error, in little memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aetherium.channel import ChannelGuest, dialing
from aetherium.channel.connection import connect
from aetherium.channel.transports import Transport
from aetherium.domain.errors import AetheriumError
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.guest import UnixEndpoint
from aetherium.protocol import frames as f
from aetherium.protocol.pack import pack
from tests.unit.channel.agents import INFO
from tests.unit.channel.test_hostile_agents import RESULT, STAT

fuzz = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
OFFSET = bytes(8)
SESSION = (
    f.encode(f.OUTPUT, 1, OFFSET + b"hello\n")
    + f.encode(f.EVENT, 1, pack({"stdin": 0}))
    + f.encode(f.DATA, 2, b"contents")
    + f.encode(f.RESPONSE, 2, pack({"size": 8}))
    + f.encode(f.EVENT, 3, pack([STAT, STAT]))
    + f.encode(f.RESPONSE, 3, pack({}))
    + f.encode(f.CREDIT, 4, bytes([0, 0, 1, 0]))
    + f.encode(f.RESPONSE, 4, pack(STAT))
    + f.encode(f.EVENT, 5, pack([{}, {"kind": "created", "path": "/x"}]))
    + f.encode(f.FAILURE, 5, pack({"errno": "ENOENT", "message": "gone"}))
    + f.encode(f.RESPONSE, 6, pack({"pid": 7}))
    + f.encode(f.PING, 0, b"agent")
    + f.encode(f.OUTPUT, 1, (6).to_bytes(8, "big") + b"again\n", f.FLAG_STDERR)
    + f.encode(f.RESPONSE, 1, pack(RESULT))
)


@pytest.fixture(autouse=True)
def _no_reconnects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "GONE_S", 0.0)


async def lied_to(*pieces: bytes) -> None:
    """Make many calls to an agent that greets well, sends `pieces` and hangs up."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with theirs:
        connection = await connect(Transport(ours, UnixEndpoint("")))
        async with asyncio.TaskGroup() as group:
            info = group.create_task(connection.handshake())
            hello = await loop.sock_recv(theirs, 1000)
            nonce, _, _ = f.parse_hello(hello[f.HEADER_SIZE :])
            await loop.sock_sendall(theirs, f.welcome(nonce) + f.encode(f.INFO, 0, pack(INFO)))
        guest = ChannelGuest([], connection, info.result())
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for call in _calls(guest):
                group.create_task(_ends(call))
            await asyncio.sleep(0)  # each has sent its request, in this order
            with suppress(ConnectionError):  # the host may have had enough before the last one
                for piece in pieces:
                    await loop.sock_sendall(theirs, piece)
            theirs.close()
        await guest.close()


def _calls(guest: ChannelGuest) -> list[Coroutine[Any, Any, object]]:
    """Calls that open the streams 1 to 6."""
    return [
        guest.run("x", ExecutionSpec(("cat",), stdin=True), stdin=bytes(300_000)),
        _all(guest.read("/x", length=8)),
        guest.list("/x"),
        guest.write("/x", bytes(300_000)),
        _watch(guest),
        guest.start("y", ExecutionSpec(("true",))),
        guest.metrics(),
        _all(guest.archive_out("/x")),
    ]


async def _ends(call: Coroutine[Any, Any, object]) -> None:
    try:
        await call
    except AetheriumError:
        return


async def _all(pieces: AsyncIterator[bytes]) -> None:
    async for piece in pieces:
        assert piece


async def _watch(guest: ChannelGuest) -> None:
    async with guest.watch("/x") as events:
        async for event in events:
            assert event.path


@fuzz
@given(data=st.binary(max_size=2000))
async def test_any_bytes(data: bytes) -> None:
    await lied_to(data)


@fuzz
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(SESSION)), st.integers(0, 4), st.binary(max_size=4)), max_size=5
    )
)
async def test_mutated_sessions(changes: list[tuple[int, int, bytes]]) -> None:
    session = bytearray(SESSION)
    for at, removed, inserted in changes:
        session[at : at + removed] = inserted
    await lied_to(bytes(session))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
payloads = (
    st.binary(max_size=40)
    | st.builds(pack, values)
    | st.builds(lambda value: pack(RESULT | value), st.dictionaries(st.sampled_from(sorted(RESULT)), values))
)
anything = st.builds(f.encode, st.integers(0, 30), st.integers(0, 9), payloads, st.integers(0, 3))


@fuzz
@given(frames=st.lists(anything, max_size=20))
async def test_any_frames(frames: list[bytes]) -> None:
    await lied_to(*frames)
