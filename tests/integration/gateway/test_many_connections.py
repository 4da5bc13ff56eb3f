"""A thousand clients that follow events and two hundred WebSockets at one gateway: what they cost is bounded,
all of them are served, and who does not read or does not ask is dropped."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, unix_connect

from aetherium.client import AsyncClient
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.tasks import TaskSpec
from aetherium.domain.vms import VMSpec
from aetherium.process import spawned
from tests.fixtures.platform import data_dir
from tests.integration.gateway.raw import Unread

__all__ = ["data_dir"]

FOLLOWERS = 1000
WEBSOCKETS = 200
# The gateway's listening socket holds so many that wait.
_AT_ONCE = 100
_DEADLINE_S = 120
# What a client that does not read is given, in this gateway.
_SEND_S = 2.0
# Bounds of resident memory for each. Measured: 51 and 65.
_FOLLOWER_KIB = 100
_WEBSOCKET_KIB = 130
_UPGRADE = (
    "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_FOLLOW = b"GET /v1/events?latest=0&type=task.* HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Process:
    """A gateway."""

    pid: int
    socket: Path

    def resident_kib(self) -> int:
        """Its memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError


@dataclass(frozen=True, slots=True)
class Follower:
    """A client that follows events."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, socket: Path) -> Follower:
        """One whose answer has begun."""
        reader, writer = await asyncio.open_unix_connection(socket)
        writer.write(_FOLLOW)
        status = await reader.readuntil(b"\r\n\r\n")
        assert status.startswith(b"HTTP/1.1 200"), status
        return cls(reader, writer)

    async def sees(self, task_id: str) -> None:
        """Wait for an event of this task."""
        await self.reader.readuntil(task_id.encode())
        await self.reader.readuntil(b"\n\n")

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


@pytest.fixture
def many_files() -> Iterator[None]:
    """Descriptors for all of them, here and in the gateway, which inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * (FOLLOWERS + WEBSOCKETS)
    assert hard == resource.RLIM_INFINITY or hard >= wanted, f"ulimit -Hn is {hard}, below {wanted}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def process(data_dir: Path, many_files: None) -> AsyncIterator[Process]:
    argv = [sys.executable, "-m", "tests.integration.gateway.serving", str(data_dir), str(_SEND_S)]
    async with spawned(argv, stdout=asyncio.subprocess.PIPE) as child:
        assert child.stdout is not None
        async with asyncio.timeout(_DEADLINE_S):
            assert await child.stdout.readline() == b"listening\n"
        yield Process(child.pid, data_dir / "s")


@asynccontextmanager
async def following(process: Process, count: int) -> AsyncIterator[Sequence[Follower]]:
    """So many clients."""
    followers: list[Follower] = []
    try:
        while len(followers) < count:
            some = min(_AT_ONCE, count - len(followers))
            followers += await asyncio.gather(*(Follower.connect(process.socket) for _ in range(some)))
        yield followers
    finally:
        await asyncio.gather(*(each.close() for each in followers))


@asynccontextmanager
async def attached(
    process: Process, execution_id: str, count: int
) -> AsyncIterator[Sequence[ClientConnection]]:
    """So many WebSockets that follow an execution."""
    async with AsyncExitStack() as stack:
        url = f"ws://x/v1/executions/{execution_id}/attach"
        sockets = []
        for _ in range(count):
            socket = await stack.enter_async_context(unix_connect(str(process.socket), url))
            assert "execution" in str(await socket.recv())
            sockets.append(socket)
        yield sockets


async def test_a_thousand_followers_and_two_hundred_websockets(process: Process) -> None:
    async with asyncio.timeout(_DEADLINE_S), AsyncClient.unix(process.socket) as client:
        await client.vms.create(VMSpec(name="box"))
        execution = await client.executions.start("box", ExecutionSpec(("sleep", "1000")))
        async with following(process, 20), attached(process, execution.id, 20):
            base = process.resident_kib()  # with all that is made once
        async with following(process, FOLLOWERS) as followers:
            followed = process.resident_kib()
            async with attached(process, execution.id, WEBSOCKETS) as sockets:
                both = process.resident_kib()
                task = await client.tasks.submit(TaskSpec("system.noop"))
                await asyncio.gather(*(each.sees(task.id) for each in followers))
                await client.executions.kill(execution.id)
                results = await asyncio.gather(*(socket.recv() for socket in sockets))
                assert all("result" in str(each) for each in results)
        per_follower, per_socket = (followed - base) / FOLLOWERS, (both - followed) / WEBSOCKETS
        print(f"{per_follower:.0f} KiB for each follower, {per_socket:.0f} KiB for each WebSocket")
        assert per_follower < _FOLLOWER_KIB
        assert per_socket < _WEBSOCKET_KIB
        # They leave nothing behind: as many again need hardly more.
        async with following(process, FOLLOWERS):
            assert process.resident_kib() < both + (both - base) // 4


async def test_who_does_not_read_or_ask_is_dropped_and_others_are_not(process: Process) -> None:
    socket = process.socket
    async with asyncio.timeout(_DEADLINE_S), AsyncClient.unix(socket) as client:
        await client.vms.create(VMSpec(name="box"))
        execution = await client.executions.start("box", ExecutionSpec(("yes",)))
        async with following(process, 50) as followers:
            with Unread(socket) as stream, Unread(socket) as web_socket, Unread(socket) as silent:
                stream.request("GET", f"/v1/executions/{execution.id}/output")
                web_socket.request("GET", f"/v1/executions/{execution.id}/attach", headers=_UPGRADE)
                silent.send(b"GET /v1/events HTTP/1.1\r\nhost:")
                await asyncio.gather(*(each.closed() for each in (stream, web_socket, silent)))
            await client.executions.kill(execution.id)
            task = await client.tasks.submit(TaskSpec("system.noop"))
            await asyncio.gather(*(each.sees(task.id) for each in followers))
