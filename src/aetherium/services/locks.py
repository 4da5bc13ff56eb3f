"""One change of a VM at a time, over all processes of this host."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aetherium.domain.errors import Conflict

# Between two looks at a lock that another process holds. What holds it takes milliseconds to seconds.
PAUSE_S = 0.02
# The longest change is a clean stop with its grace.
DEADLINE_S = 60.0


class FileLocks:
    """Exclusive locks by name: asyncio within this process, flock(2) between processes.

    A lock's file goes when its holder is done; who waited for it looks for the present file again.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._local: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    @asynccontextmanager
    async def hold(self, name: str, *, timeout_s: float = DEADLINE_S) -> AsyncIterator[None]:
        """Raises Conflict when others hold it for longer than `timeout_s` seconds."""
        lock = self._local.setdefault(name, asyncio.Lock())
        self._waiting[name] = self._waiting.get(name, 0) + 1
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                await lock.acquire()
                try:
                    fd = await self._locked_file(name)
                except BaseException:
                    lock.release()
                    raise
                deadline.reschedule(None)
                try:
                    yield
                finally:
                    self._path(name).unlink(missing_ok=True)
                    os.close(fd)
                    lock.release()
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise Conflict(
                f"Something else has been changing {name} for {timeout_s:g} seconds.",
                hint="Try again when it is done.",
            ) from error
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name], self._local[name]

    def free(self, name: str) -> bool:
        """Whether nobody, in any process, holds it at this moment."""
        fd = self._open(name)
        if fd is None:
            return False
        self._path(name).unlink(missing_ok=True)
        os.close(fd)
        return True

    async def _locked_file(self, name: str) -> int:
        while True:
            fd = self._open(name)
            if fd is not None:
                return fd
            await asyncio.sleep(PAUSE_S)

    def _open(self, name: str) -> int | None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(name)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except (BlockingIOError, FileNotFoundError):
            pass  # held, or its holder has just removed the file: look again
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def _path(self, name: str) -> Path:
        return self._root / f"{name}.lock"
