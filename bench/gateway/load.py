"""Requests over connections that stay open, and the processor time that their server took for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

# A request, and the body of its answer. Raises AssertionError for an answer other than 200.
Ask = Callable[[bytes], Awaitable[bytes]]
_TICKS = os.sysconf("SC_CLK_TCK")


async def rate(pid: int, port: int, path: str, headers: Mapping[str, str], count: int, at_once: int) -> float:
    """Requests for each second of processor time of the process `pid`, all its threads together.

    Raises AssertionError for an answer other than 200.
    """
    request = written("GET", path, headers)
    before = cpu_s(pid)
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(_repeat(port, request, count // at_once))
    return count / (cpu_s(pid) - before)


def cpu_s(pid: int) -> float:
    """Seconds of processor time, of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def written(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request."""
    length = {"content-length": str(len(body)), "content-type": "application/json"} if body else {}
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, **length}.items())
    return f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{lines}\r\n".encode() + body


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Ask]:
    """A connection to a port of this host. No HTTP library: what it costs is not the server's."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(request: bytes) -> bytes:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        return await reader.readexactly(_length(head))

    try:
        yield ask
    finally:
        writer.close()
        await writer.wait_closed()


async def _repeat(port: int, request: bytes, count: int) -> None:
    async with connected(port) as ask:
        for _ in range(count):
            await ask(request)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise AssertionError(head)
