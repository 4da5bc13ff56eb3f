"""Serves an ASGI application on a Unix socket: for `aetherium up`, and inside a command without it.

The socket lies in a directory of mode 0700, and is of mode 0600 itself: whoever may open it may do everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from aetherium.domain.errors import Conflict, InvalidInput, Unavailable
from aetherium.gateway.streams import Drain

# The kernel's sockaddr_un takes 108 bytes with the final NUL.
_PATH_MAX = 107
_BACKLOG = 512


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
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    facts = path.stat()
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
def single(lock: Path, what: str) -> Iterator[None]:
    """Holds the file `lock` for this process. Raises Conflict, with the other's pid, if another one does."""
    lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.closing(_open(lock)) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = file.read().strip()
            raise Conflict(
                f"{what} (pid {pid or 'unknown'}).",
                hint="Use it as it is, end it first, or choose another data directory with --data-dir.",
                pid=pid,
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _open(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")


async def _stop(server: _Server, drain: Drain) -> None:
    drain.start()
    await drain.ended(timeout_s=2.0)  # their last lines say why they end
    server.leave.set()


@asynccontextmanager
async def serving(app: Any, path: Path, drain: Drain, *, grace_s: float) -> AsyncIterator[None]:
    """Serve `app` at `path` during the block; then streams are ended, and requests get `grace_s` to finish.

    Leaves the signals alone. If the server ends by itself, the block is cancelled and the error comes out.
    """
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=1 << 20,
        ws_ping_interval=None,  # a Unix socket tells when its other end goes
        timeout_graceful_shutdown=max(1, round(grace_s)),
        timeout_keep_alive=300,
        backlog=_BACKLOG,
    )
    server = _Server(config)
    with listening(path) as listener:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[listener]))
            try:
                yield
            finally:
                # A task of its own, so that it goes on when this one is cancelled meanwhile.
                await asyncio.shield(group.create_task(_stop(server, drain)))
