"""Serves the API on a Unix socket, for `aetherium up` and inside a command that runs without it; and at a TCP
port too, if that is wanted.

The socket lies in a directory of mode 0700, and has the mode 0600 itself: whoever may open it may do
everything.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import uvicorn

from aetherium.domain.errors import Conflict, InvalidInput, Unavailable
from aetherium.gateway.access import Services
from aetherium.gateway.app import create_app
from aetherium.gateway.connections import CuttableWebSocket
from aetherium.gateway.protocols import BoundedHTTP
from aetherium.gateway.side import Side
from aetherium.gateway.streams import Drain
from aetherium.gateway.tcp import Listener

# The kernel's sockaddr_un takes 108 bytes with the final NUL.
_PATH_MAX = 107
_BACKLOG = 512
_PRIVATE = "cli-"
# A private place is made and locked in far less; what is younger is not looked at.
_FRESH_S = 10.0


class _Server(uvicorn.Server):
    """A uvicorn that leaves signals to us, and ends at once when there is nothing to wait for."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.leave = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.leave.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()


@contextmanager
def private_directory(path: Path) -> Iterator[Path]:
    """`path`, made if need be, with mode 0700. Raises Unavailable if it belongs to somebody else."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = path.stat()
    except OSError as error:
        raise Unavailable(
            f"The socket directory {path} cannot be used: {error.strerror}.",
            hint="Choose a directory of your own with --data-dir or AETHERIUM_RUNTIME_DIR.",
        ) from error
    if facts.st_uid != os.geteuid():
        raise Unavailable(
            f"The socket directory {path} belongs to another user (uid {facts.st_uid}).",
            hint="Set runtime_dir to a directory of your own.",
        )
    if facts.st_mode & 0o077:
        path.chmod(0o700)
    yield path


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A listening Unix socket at `path`, which appears there ready and goes away with the block.

    The caller holds the lock that says that the place is its own; a socket that a killed process has left
    there is replaced.
    """
    if len(os.fsencode(path)) > _PATH_MAX - 9:
        raise InvalidInput(
            f"The socket path {path} is too long for the kernel ({_PATH_MAX} bytes).",
            hint="Set AETHERIUM_RUNTIME_DIR to a shorter directory.",
            field="runtime_dir",
        )
    fresh = path.with_name(f".{secrets.token_hex(3)}.s")
    with private_directory(path.parent), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            listener.bind(str(fresh))
            fresh.chmod(0o600)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
            fresh.rename(path)
            yield listener
        finally:
            for left in (fresh, path):
                left.unlink(missing_ok=True)


@contextmanager
def place(directory: Path, socket: Path | None) -> Iterator[Path]:
    """Where to listen: at `socket`, which this process then has for itself, or at one that is private to it.

    Raises Conflict, with the other's pid, if another process has `socket`.
    """
    with private_directory(directory):
        _sweep(directory)
        if socket is not None:
            with _single(socket.with_suffix(".lock")):
                yield socket
            return
        own = Path(tempfile.mkdtemp(prefix=_PRIVATE, dir=directory))
        try:
            with _locked(own / "lock"):
                yield own / "s"
        finally:
            shutil.rmtree(own, ignore_errors=True)


def _sweep(directory: Path) -> None:
    """Remove the private places of processes that were killed."""
    for left in directory.glob(f"{_PRIVATE}*"):
        try:
            if time.time() - left.stat().st_mtime < _FRESH_S:
                continue
            with _locked(left / "lock"):
                shutil.rmtree(left, ignore_errors=True)
        except (BlockingIOError, FileNotFoundError, NotADirectoryError):
            continue  # somebody lives there, or has just left


@contextmanager
def _single(lock: Path) -> Iterator[None]:
    try:
        with _locked(lock) as file:
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield
    except BlockingIOError:
        pid = lock.read_text(encoding="ascii", errors="replace").strip()
        raise Conflict(
            f"`aetherium up` serves this data directory already (pid {pid or 'unknown'}).",
            hint="Use it as it is, end it first, or choose another data directory with --data-dir.",
            pid=pid,
        ) from None


@contextmanager
def _locked(path: Path) -> Iterator[TextIO]:
    """The file, held for this process as long as it lives. Raises BlockingIOError if another one holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


async def _stop(servers: Sequence[_Server], drain: Drain) -> None:
    drain.start()
    await drain.ended(timeout_s=2.0)  # their last lines say why they end
    for server in servers:
        server.leave.set()


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port to be served at.

    Args:
        proxies: networks whose X-Forwarded-For and X-Forwarded-Proto are believed.
        connections: more at once are refused.
    """

    listener: Listener
    proxies: Sequence[str] = ()
    connections: int | None = None


@asynccontextmanager
async def serving(
    app: Any, path: Path, drain: Drain, *, grace_s: float, port: Port | None = None
) -> AsyncIterator[None]:
    """Serve `app` at `path` and `port` during the block; then streams are ended, and requests get `grace_s`
    to finish.

    Leaves the signals alone. If a server ends by itself, the block is cancelled and the error comes out.
    """
    with listening(path) as listener:
        served = [(_Server(_unix(app, grace_s)), listener)]
        if port is not None:
            served.append((_Server(_tcp(app, grace_s, port)), port.listener.socket))
        async with asyncio.TaskGroup() as group:
            for server, bound in served:
                group.create_task(server.serve(sockets=[bound]))
            try:
                yield
            finally:
                # A task of its own, so that it goes on when this one is cancelled meanwhile.
                servers = [server for server, _ in served]
                await asyncio.shield(group.create_task(_stop(servers, drain)))


def _unix(app: Any, grace_s: float) -> uvicorn.Config:
    return _config(
        Side(app, local=True),
        grace_s,
        proxy_headers=False,
        ws_ping_interval=None,  # a Unix socket tells when its other end goes
        timeout_keep_alive=300,
    )


def _tcp(app: Any, grace_s: float, port: Port) -> uvicorn.Config:
    tls = port.listener.tls
    return _config(
        Side(app, local=False),
        grace_s,
        proxy_headers=bool(port.proxies),
        forwarded_allow_ips=list(port.proxies),
        limit_concurrency=port.connections,
        ssl_context_factory=None if tls is None else lambda *_: tls,
        timeout_keep_alive=75,
    )


def _config(app: Any, grace_s: float, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        http=BoundedHTTP,
        ws=CuttableWebSocket,
        ws_per_message_deflate=False,
        ws_max_size=1 << 20,
        timeout_graceful_shutdown=max(1, round(grace_s)),
        backlog=_BACKLOG,
        **more,
    )


@asynccontextmanager
async def serve_platform(
    services: Services, path: Path, *, grace_s: float, tcp: Listener | None = None
) -> AsyncIterator[None]:
    """Serve a platform's API at `path` and at `tcp` during the block; see `serving`."""
    drain, settings = Drain(), services.settings
    port = None if tcp is None else Port(tcp, settings.trusted_proxies, settings.max_connections)
    async with serving(create_app(services, drain), path, drain, grace_s=grace_s, port=port):
        yield
