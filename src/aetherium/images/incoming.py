"""A part of an image on its way to this host.

Its file is locked as long as somebody fetches it, and is its own lock: of several processes that want the
part, one fetches and the others wait. Who is killed or loses the connection leaves a begin, from which the
next one goes on. What turns out to be wrong is removed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from aetherium.domain.errors import ImageFailed, Unavailable
from aetherium.images.blobs import PIECE, BlobSource
from aetherium.images.locks import try_lock
from aetherium.interfaces.finishing import finish

# Between two looks at what another process fetches, which takes seconds.
PAUSE_S = 0.05

P = ParamSpec("P")
T = TypeVar("T")
# Takes how many bytes are here.
Here = Callable[[int], None]


@asynccontextmanager
async def incoming(path: Path) -> AsyncIterator[Incoming]:
    """Wait until nobody else fetches this part. Its file stays for a later attempt, unless the block
    ends with ImageFailed."""
    while (fd := try_lock(path)) is None:  # noqa: ASYNC110 - another process has it
        await asyncio.sleep(PAUSE_S)
    part = Incoming(path, fd)
    try:
        yield part
    except ImageFailed:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        raise
    finally:
        part.close()


class Incoming:
    """The file, locked."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._file = os.fdopen(fd, "r+b", buffering=0)
        self._digest = hashlib.sha256()
        self._size = 0

    async def fetch(self, source: BlobSource, digest: str, here: Here) -> None:
        """Make it whole and durable. Raises ImageFailed when what comes is not what `digest` says."""
        await _blocking(self._read)
        begun = self._size > 0
        await self._append(source, digest, here)
        if begun and not self._is(digest):  # the begin was wrong: cut short when the machine went down
            await _blocking(self._restart)
            await self._append(source, digest, here)
        if not self._is(digest):
            raise ImageFailed(
                f"The part {digest[:19]} of the image came damaged, or not whole.",
                hint="Push the image again.",
                digest=digest,
            )
        await _blocking(os.fsync, self._file.fileno())

    def remove(self) -> None:
        """Nobody can go on from it."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of it, and remove it if nothing came."""
        if not self._size:
            self.remove()
        self._file.close()

    async def _append(self, source: BlobSource, digest: str, here: Here) -> None:
        async with aclosing(source.blob(digest, self._size)) as pieces:
            async for piece in pieces:
                await _blocking(self._write, piece)
                here(self._size)

    def _is(self, digest: str) -> bool:
        return f"sha256:{self._digest.hexdigest()}" == digest

    # Below: called in a thread.

    def _read(self) -> None:
        while piece := self._file.read(PIECE):
            self._count(piece)

    def _write(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            view = view[self._file.write(view) :]
        self._count(piece)

    def _count(self, piece: bytes) -> None:
        self._digest.update(piece)
        self._size += len(piece)

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._digest, self._size = hashlib.sha256(), 0


async def _blocking(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    # `finish`: nobody may close the file while a thread is at it.
    try:
        return await finish(asyncio.to_thread(work, *args, **kwargs))
    except OSError as error:
        raise Unavailable(
            f"The image cannot be stored: {error.strerror}.", hint="Is the disk full?"
        ) from error
