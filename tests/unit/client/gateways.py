"""A gateway that answers as it is told, or hangs up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# As an answer: the connection is cut instead.
CUT = b""


def answer(status: int, body: Any = None, content: bytes = b"", **headers: str) -> bytes:
    """A whole answer; `body` as JSON."""
    data = content or json.dumps(body).encode()
    head = {"content-length": str(len(data)), **{key.replace("_", "-"): v for key, v in headers.items()}}
    lines = [f"HTTP/1.1 {status} X", *(f"{key}: {value}" for key, value in head.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def problem(status: int, code: str, **headers: str) -> bytes:
    """An error."""
    return answer(status, {"code": code, "detail": "No.", "retryable": True}, b"", **headers)


def cut_off(content: bytes, **headers: str) -> bytes:
    """An answer whose body ends before the rest of it comes."""
    return answer(200, None, content + b"lost", **headers)[: -len(b"lost")]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for."""

    line: str
    headers: dict[str, str]
    body: bytes


@asynccontextmanager
async def scripted(socket: Path, answers: Sequence[bytes]) -> AsyncIterator[list[Request]]:
    """A gateway at `socket` that gives these answers, one on each connection; the requests it has had."""
    script, requests = iter(answers), list[Request]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            requests.append(await _read(reader))
            writer.write(next(script, CUT))
            await writer.drain()
        finally:
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_unix_server(serve, socket):
        yield requests


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(head[0].removesuffix(" HTTP/1.1"), headers, body)
