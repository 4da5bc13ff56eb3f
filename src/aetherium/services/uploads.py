"""Files that clients bring for their jobs: kept for a while, each for the project that it came from."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from aetherium.domain.errors import LimitExceeded, NotFound
from aetherium.domain.ids import UPLOAD, check_id, new_id
from aetherium.domain.jobs import ArchiveSource, BundleSource, UploadSource
from aetherium.domain.uploads import Upload
from aetherium.interfaces.clock import Clock
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.objects import ObjectInfo, ObjectStore
from aetherium.sources.delivery import Delivery
from aetherium.sources.opening import open_source
from aetherium.sources.tarstream import limited

# Long enough for a client that submits some jobs with it, and tries again when its connection is bad.
KEPT = timedelta(hours=1)
# What a project may have of them at once, in uploads of the largest size: nobody fills the disk by the hour.
_LARGEST = 4
_FOLDER = "uploads"
_HINT = "Upload it again: it is kept for an hour, for the project that it was uploaded in."


class UploadService:
    """See the methods.

    Args:
        scratch: directory of this host in which uploads are looked into.
        max_bytes: of one upload.
    """

    def __init__(self, objects: ObjectStore, clock: Clock, scratch: Path, max_bytes: int) -> None:
        self._objects = objects
        self._clock = clock
        self._scratch = scratch
        self._max_bytes = max_bytes

    async def take(self, data: AsyncIterable[bytes], *, project: str) -> Upload:
        """Keep what `data` brings. What it raises is raised here, and then nothing is kept.

        Raises LimitExceeded.
        """
        await self.sweep()
        kept = sum(info.size_bytes for info in await self._objects.list(_folder(project)))
        if kept >= _LARGEST * self._max_bytes:
            raise LimitExceeded(
                f"{kept >> 20} MiB of uploads are kept for this project.",
                hint="Try again when the first of them are gone: they are kept for an hour.",
                limit=_LARGEST * self._max_bytes,
            )
        upload_id, digest, arrived = new_id(UPLOAD), hashlib.sha256(), self._clock.now()

        async def pieces() -> AsyncGenerator[bytes, None]:
            async for piece in data:
                digest.update(piece)
                yield piece

        async with aclosing(limited(pieces(), self._max_bytes, "The upload")) as bounded:
            size = await self._objects.put(_key(project, upload_id), bounded)
        return Upload(upload_id, size, digest.hexdigest(), arrived + KEPT)

    @asynccontextmanager
    async def opened(self, source: UploadSource, *, project: str) -> AsyncIterator[Delivery]:
        """What an upload holds, ready to be sent during the block.

        Raises NotFound; InvalidInput, SourceFailed, LimitExceeded here or while it is read.
        """
        await asyncio.to_thread(self._scratch.mkdir, mode=0o700, parents=True, exist_ok=True)
        area = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._scratch))
        try:
            file = str(await self._fetch(source, project, area))
            if source.format == "bundle":
                yield await open_source(BundleSource(file, source.ref), area, self._max_bytes)
                return
            found = await open_source(ArchiveSource(file, source.strip), area, self._max_bytes)
            # Of a packed directory, who packed it knows what it is; this concerns nobody else's job.
            yield replace(found, commit=source.commit, clean=source.clean, warnings=source.warnings)
        finally:
            await finish(asyncio.to_thread(shutil.rmtree, area, ignore_errors=True))

    async def sweep(self) -> int:
        """Remove what has been kept long enough, of all projects; how many these were."""
        old = [info for info in await self._objects.list(_FOLDER) if self._is_old(info)]
        for info in old:
            await self._objects.remove(info.key)
        return len(old)

    def _is_old(self, info: ObjectInfo) -> bool:
        return self._clock.now() - info.modified_at > KEPT

    async def _fetch(self, source: UploadSource, project: str, area: Path) -> Path:
        path, key = area / "upload", _key(project, source.upload_id)
        try:
            with await asyncio.to_thread(path.open, "xb") as file:
                async with aclosing(self._objects.get(key)) as pieces:
                    async for piece in pieces:
                        await finish(asyncio.to_thread(file.write, piece))
        except NotFound as error:
            raise NotFound("upload", source.upload_id, hint=_HINT) from error
        return path


def _folder(project: str) -> str:
    return f"{_FOLDER}/{project}"


def _key(project: str, upload_id: str) -> str:
    return f"{_folder(project)}/{check_id(upload_id, UPLOAD)}"
