"""Files that are brought for jobs."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import aclosing
from pathlib import Path

from aetherium.client import values
from aetherium.client.transport import Transport
from aetherium.domain.errors import ProtocolViolation
from aetherium.domain.jobs import GitSource, JobSource, UploadSource
from aetherium.domain.uploads import Upload
from aetherium.interfaces.finishing import finish

# What a gateway fetches by itself. The rest lies on this host, or needs its keys.
_REMOTE = ("https://", "http://", "git://")
# The gateway has a limit of its own, which it says when it is reached; this one bounds what git may do here.
_MOST = 64 << 30


class Uploads:
    """``client.uploads``."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def create(self, data: AsyncIterable[bytes] | bytes) -> Upload:
        """Bring an archive (tar, plain or packed with gzip, bzip2 or xz; zip) or a git bundle. For an hour
        jobs of the same project may begin with it: see UploadSource.

        Raises LimitExceeded.
        """
        digest = hashlib.sha256()

        async def pieces() -> AsyncIterator[bytes]:
            async for piece in _pieces(data):
                digest.update(piece)
                yield piece

        found = await self._http.send("/v1/uploads", pieces(), method="POST")
        upload = values.load(Upload, found)
        if upload.sha256 != digest.hexdigest():
            raise ProtocolViolation(f"The upload {upload.id} is not what was sent.", hint="Try again.")
        return upload

    async def pack(self, source: JobSource) -> JobSource:
        """What a job may begin with wherever it runs: a source of this host is packed and uploaded, without
        the files that git ignores. What every gateway reaches by itself stays as it is.

        Raises SourceFailed, InvalidInput, LimitExceeded.
        """
        if isinstance(source, UploadSource) or (
            isinstance(source, GitSource) and source.url.startswith(_REMOTE)
        ):
            return source
        # Late: most programs submit no directories, and git, tar and zip are slow to import.
        from aetherium.sources.opening import open_source

        scratch = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="aetherium-"))
        try:
            delivery = await open_source(source, scratch, _MOST)
            async with aclosing(delivery.pieces) as packed:
                upload = await self.create(packed)
        finally:
            await finish(asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True))
        return UploadSource(
            upload.id, commit=delivery.commit, clean=delivery.clean, warnings=delivery.warnings
        )


async def _pieces(data: AsyncIterable[bytes] | bytes) -> AsyncIterator[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    async for piece in data:
        yield piece
