"""A client for QEMU's monitor protocol (QMP specification, docs/interop/qmp-spec of QEMU).

One connection for each operation: QEMU serves one client at a time, and several processes may operate on
one VM. That makes the handshake part of every operation, which is why this is no general client.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aetherium.domain.errors import VMCrashed, VMFailed, VMUnresponsive

# The longest answer that we ask for is a few hundred bytes.
MAX_LINE = 1 << 20
# A monitor that is silent for this long belongs to a hung VM.
SILENCE_S = 2.0


class Monitor:
    """An open connection. Raises VMUnresponsive when QEMU is silent, VMCrashed when it is gone, VMFailed
    when it refuses a command."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""

    async def execute(
        self,
        command: str,
        arguments: dict[str, object] | None = None,
        *,
        fd: int | None = None,
        timeout_s: float = SILENCE_S,
    ) -> Any:
        """Send a command, with a descriptor beside it if it takes one, and return its answer."""
        message = json.dumps({"execute": command, "arguments": arguments or {}}).encode() + b"\n"
        try:
            async with asyncio.timeout(timeout_s):
                if fd is None:
                    await asyncio.get_running_loop().sock_sendall(self._sock, message)
                else:
                    socket.send_fds(self._sock, [message], [fd])
                while True:
                    answer = await self._message()
                    if "error" in answer:
                        text = answer["error"].get("desc", answer["error"])
                        raise VMFailed(f"QEMU refused {command}: {text}")
                    if "return" in answer:
                        return answer["return"]
        except TimeoutError:
            raise VMUnresponsive(f"QEMU did not answer {command} within {timeout_s:g} seconds.") from None
        except OSError as error:
            raise VMCrashed(f"QEMU ended during {command}: {error.strerror}.") from error

    async def status(self) -> str:
        """The run state: ``running``, ``paused``, ``inmigrate`` … (RunState in qapi/run-state.json)."""
        answer = await self.execute("query-status")
        return str(answer["status"])

    async def greeting(self) -> None:
        """The capabilities negotiation that begins every connection."""
        await self._message()
        await self.execute("qmp_capabilities")

    async def _message(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            data = await asyncio.get_running_loop().sock_recv(self._sock, 65536)
            if not data:
                raise ConnectionResetError(104, "the monitor was closed")
            self._buffer += data
            if len(self._buffer) > MAX_LINE:
                raise VMFailed(f"QEMU sent an answer of more than {MAX_LINE} bytes.")
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError:
            raise VMFailed(f"QEMU sent {line[:80]!r}, which is no message.") from None
        if not isinstance(message, dict):
            raise VMFailed(f"QEMU sent {line[:80]!r}, which is no message.")
        return message


@asynccontextmanager
async def monitor(directory: Path, name: str) -> AsyncIterator[Monitor]:
    """Connect to the monitor socket `name` in `directory`, which may have any length.

    Raises VMCrashed when nobody listens there, VMUnresponsive when nobody answers.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        client = Monitor(sock)
        try:
            async with asyncio.timeout(SILENCE_S):
                await _connect(sock, directory, name)
                await client.greeting()
        except TimeoutError:
            raise VMUnresponsive(f"QEMU's monitor was silent for {SILENCE_S:g} seconds.") from None
        except OSError as error:
            raise VMCrashed(f"QEMU's monitor cannot be reached: {error.strerror}.") from error
        yield client


async def _connect(sock: socket.socket, directory: Path, name: str) -> None:
    at = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        await asyncio.get_running_loop().sock_connect(sock, f"/proc/self/fd/{at}/{name}")
    finally:
        os.close(at)
