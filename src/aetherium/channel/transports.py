"""Connected sockets to agents, one function for each kind of endpoint.

Every function returns a non-blocking stream socket, or raises OSError when the far side is not there (yet),
or EndpointBusy when an exclusive endpoint has a client already.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from contextlib import ExitStack
from dataclasses import dataclass, field

from aetherium.domain.guest import (
    GuestEndpoint,
    HybridVsockEndpoint,
    TcpEndpoint,
    UnixEndpoint,
    VsockEndpoint,
)

MAX_GREETING = 64


class EndpointBusy(OSError):
    """An exclusive endpoint serves another client of this host."""


@dataclass(slots=True)
class Transport:
    """A connected socket, and what is released when it is closed (the lock of an exclusive endpoint)."""

    sock: socket.socket
    endpoint: GuestEndpoint
    resources: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Close the socket and release the lock."""
        self.sock.close()
        self.resources.close()


async def open_transport(endpoint: GuestEndpoint) -> Transport:
    """Connect to `endpoint`."""
    with ExitStack() as stack:
        match endpoint:
            case UnixEndpoint(path, exclusive):
                if exclusive:
                    _lock(f"{path}.lock", stack)
                sock = await _unix(path, stack)
            case VsockEndpoint(cid, port):
                sock = _socket(socket.AF_VSOCK, stack)
                await asyncio.get_running_loop().sock_connect(sock, (cid, port))
            case HybridVsockEndpoint(path, port):
                sock = await _unix(path, stack)
                await _greet(sock, port)
            case TcpEndpoint(host, port):
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                sock = _socket(family, stack)
                await asyncio.get_running_loop().sock_connect(sock, (host, port))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Transport(sock, endpoint, stack.pop_all())


def _socket(family: int, stack: ExitStack) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    stack.callback(sock.close)
    sock.setblocking(False)
    return sock


async def _unix(path: str, stack: ExitStack) -> socket.socket:
    """A socket's name has at most 107 bytes; through a descriptor of its directory every path is short."""
    sock = _socket(socket.AF_UNIX, stack)
    directory, _, name = path.rpartition("/")
    at = os.open(directory or ("/" if path.startswith("/") else "."), os.O_PATH | os.O_DIRECTORY)
    try:
        await asyncio.get_running_loop().sock_connect(sock, f"/proc/self/fd/{at}/{name}")
    finally:
        os.close(at)
    return sock


def _lock(path: str, stack: ExitStack) -> None:
    """Hold the lock file at `path`. Raises EndpointBusy when somebody else does."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise EndpointBusy(f"{path} is held by another client") from None


async def _greet(sock: socket.socket, port: int) -> None:
    """Firecracker's handshake: ``CONNECT <port>\\n``, answered by ``OK <port>\\n``, or by closing when nobody
    listens in the guest (docs/vsock.md of Firecracker, "Host-Initiated Connections")."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, f"CONNECT {port}\n".encode())
    line = b""
    while not line.endswith(b"\n"):
        byte = await loop.sock_recv(sock, 1)  # one at a time: what follows the line is not ours
        line += byte
        if not byte or len(line) > MAX_GREETING:
            raise ConnectionRefusedError(f"no agent at vsock port {port}: answer {line!r}")
    if not line.startswith(b"OK "):
        raise ConnectionRefusedError(f"vsock port {port}: answer {line!r}")
