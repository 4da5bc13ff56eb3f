"""Requests as other clients than ours make them: HTTP, Server-Sent Events, sockets that are not read."""

from __future__ import annotations

import asyncio
import json
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2


@asynccontextmanager
async def http(path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of what listens at a Unix socket."""
    transport = httpx2.AsyncHTTPTransport(uds=str(path))
    async with httpx2.AsyncClient(transport=transport, base_url="http://x", timeout=20) as client:
        yield client


async def call(listener: Path, method: str, path: str, **more: Any) -> httpx2.Response:
    """One request."""
    async with http(listener) as client:
        return await client.request(method, path, **more)


@dataclass(frozen=True, slots=True)
class Event:
    """A Server-Sent Event; a comment has the kind ``""``."""

    kind: str
    id: str
    data: Any


@asynccontextmanager
async def events(
    listener: Path, path: str, *, last: str = "", method: str = "GET", **more: Any
) -> AsyncIterator[AsyncIterator[Event]]:
    """An answer's Server-Sent Events. `last`: the id of the last one that was received before."""
    headers = {"accept": "text/event-stream", **({"last-event-id": last} if last else {})}
    async with http(listener) as client, client.stream(method, path, headers=headers, **more) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield _parsed(response.aiter_text())


async def _parsed(pieces: AsyncIterator[str]) -> AsyncIterator[Event]:
    rest = ""
    async for piece in pieces:
        *whole, rest = (rest + piece).split("\n\n")
        for block in whole:
            fields = dict(line.split(":", 1) for line in block.split("\n"))
            data = json.loads(fields["data"]) if "data" in fields else None
            yield Event(fields.get("event", ""), fields.get("id", ""), data)


class Unread:
    """A connection of which nobody reads."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))

    def __enter__(self) -> Unread:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, method: str, path: str, body: str = "", headers: str = "") -> None:
        """Send a request."""
        self._socket.sendall(
            f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}"
            f"content-length: {len(body)}\r\n\r\n{body}".encode()
        )

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    async def closed(self) -> None:
        """Wait until the other side has closed the connection, though there is something to read."""
        poll = select.poll()
        poll.register(self._socket, 0)  # hang-ups only
        found = await asyncio.to_thread(poll.poll, 20_000)
        assert found, "the connection is still open"
