"""Agents that a test scripts frame by frame, and lies with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aetherium.channel import ChannelGuest, Connector
from aetherium.domain.guest import UnixEndpoint
from aetherium.protocol import frames as f
from aetherium.protocol.pack import pack, unpack

INFO = {"agent": "1", "boot_id": "b", "kernel": "k", "capabilities": ["pty"]}


class Peer:
    """The agent's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def frame(self) -> f.Frame:
        """What the host sent next."""
        _, kind, flags, stream, length = f.HEADER.unpack(await self._reader.readexactly(f.HEADER_SIZE))
        return kind, flags, stream, await self._reader.readexactly(length)

    async def greet(self) -> None:
        """Do the handshake as it should be."""
        kind, _, _, payload = await self.frame()
        assert kind == f.HELLO
        self.writer.write(f.welcome(f.parse_hello(payload)[0]))
        self.send(f.INFO, 0, pack(INFO))

    async def request(self) -> tuple[int, str, dict[str, Any]]:
        """The next request: stream, method, params. Other frames are skipped."""
        while True:
            kind, _, stream, payload = await self.frame()
            if kind == f.REQUEST:
                method, params, _ = unpack(payload)
                return stream, method, params

    async def until(self, wanted: int) -> f.Frame:
        """The next frame of this kind."""
        while True:
            frame = await self.frame()
            if frame[0] == wanted:
                return frame

    def send(self, kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> None:
        """Send a frame."""
        self.writer.write(f.encode(kind, stream, payload, flags))

    def answer(self, stream: int, value: Any) -> None:
        """End a stream well."""
        self.send(f.RESPONSE, stream, pack(value))

    async def hold(self) -> None:
        """Read whatever comes until the host hangs up."""
        while await self._reader.read(65536):
            continue


Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def scripted(directory: Path, *scripts: Script) -> AsyncIterator[UnixEndpoint]:
    """An endpoint whose first client meets the first script, and so on; the last one is for the rest."""
    path = directory / "agent"
    left = list(scripts)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = left.pop(0) if len(left) > 1 else left[0]
        try:
            await script(Peer(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the host had enough
        finally:
            writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield UnixEndpoint(str(path))


@asynccontextmanager
async def connected(directory: Path, *scripts: Script) -> AsyncIterator[ChannelGuest]:
    """A client of a scripted agent."""
    async with scripted(directory, *scripts) as endpoint:
        guest = await Connector().connect([endpoint], timeout_s=10)
        try:
            yield guest
        finally:
            await guest.close()
