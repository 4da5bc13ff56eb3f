"""A blocking client of an agent that sends whatever bytes a test wants."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aetherium.process import spawned
from aetherium.protocol import frames as f
from aetherium.protocol.pack import pack, unpack

DEADLINE_S = 20.0
# Everything that requests would import later is imported first: nobody may not read every interpreter.
_AS_NOBODY = """
import os
from aetherium.guest.__main__ import main
from aetherium.guest import archives, batches, files, helpers, sessions, sockets, system
from aetherium.guest import transfers, unpacking, users, watching
import bz2, fcntl, gzip, lzma, resource
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
raise SystemExit(main())
"""


@asynccontextmanager
async def nobodys_agent(directory: Path) -> AsyncIterator[tuple[str, int]]:
    """An agent without rights, since it will be asked for anything: its socket and pid.

    It must not have failed by its own standards either: such failures are told on stderr.
    """
    _open_to_nobody(directory)
    path = str(directory / "agent")
    log = directory / "log"
    with log.open("wb") as stderr:
        argv = [sys.executable, "-c", _AS_NOBODY, "--listen", f"unix:{path}"]
        async with spawned(argv, cwd=directory, stderr=stderr) as agent:
            _wait_for(path)
            yield path, agent.pid
            assert agent.returncode is None
    told = log.read_text(encoding="utf-8")
    assert told == "aetherium: agent ready\n", told


def _open_to_nobody(directory: Path) -> None:
    directory.chmod(0o777)
    for parent in list(directory.parents)[:2]:
        parent.chmod(0o755)


def _wait_for(path: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            Client(path).close()
        except OSError:
            assert time.monotonic() < end
        else:
            return


class Client:
    """One connection."""

    def __init__(self, path: str) -> None:
        self._decoder = f.Decoder(f.WELCOME_PREFIX, resync=True)
        self._frames: list[f.Frame] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(DEADLINE_S)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send, while reading what comes so that neither side waits for the other; a hang-up ends it."""
        view = memoryview(data)
        self._socket.setblocking(False)
        try:
            while view:
                try:
                    view = view[self._socket.send(view[:65536]) :]
                except BlockingIOError:
                    self._drain()
        except ConnectionError:
            return
        finally:
            self._socket.settimeout(DEADLINE_S)

    def _drain(self) -> None:
        try:
            self._frames += self._decoder.feed(self._socket.recv(65536))
        except BlockingIOError:
            return

    def greet(self) -> None:
        """The handshake."""
        self.send(f.hello(os.urandom(16)))
        while self.next()[0] != f.INFO:
            continue

    def next(self) -> f.Frame:
        """The next frame. Raises TimeoutError, or EOFError when the agent hung up."""
        while not self._frames:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def call(self, stream: int, method: str, params: dict[str, Any]) -> Any:
        """A request and its answer."""
        self.send(request(stream, method, params))
        while True:
            kind, _, answered, payload = self.next()
            if answered == stream and kind in (f.RESPONSE, f.FAILURE):
                return unpack(payload)


def request(stream: int, method: str, params: Any, window: int = f.INITIAL_CREDIT) -> bytes:
    """A REQUEST as bytes."""
    return f.encode_message(f.REQUEST, stream, pack([method, params, window]))


def rss_kib(pid: int) -> int:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0])
