"""Agents as ordinary processes of this host, and a stand-in for Firecracker's vsock."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aetherium.process import spawned


@asynccontextmanager
async def running_agent(place: str, log: Path) -> AsyncIterator[int]:
    """An agent that listens at `place`; its pid."""
    with log.open("wb") as stderr:
        argv = [sys.executable, "-m", "aetherium.guest", "--listen", place]
        async with spawned(argv, stderr=stderr) as process:
            yield process.pid


@asynccontextmanager
async def hybrid_vsock(path: str, agent: str, port: int) -> AsyncIterator[None]:
    """A Unix socket that speaks ``CONNECT <port>`` before it passes everything on to the agent's socket."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if line == b"CONNECT %d\n" % port:
            far_reader, far_writer = await asyncio.open_unix_connection(agent)
            writer.write(b"OK 1073741824\n")
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, far_writer))
                group.create_task(_copy(far_reader, writer))
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return
    finally:
        writer.close()
