"""Sources that were packed where they were submitted, for a worker on another host."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from aetherium.domain.errors import NotFound, SourceFailed
from aetherium.domain.jobs import GitSource, JobSource, PackedSource
from aetherium.interfaces.jobs import SOURCE
from aetherium.interfaces.objects import ObjectStore
from aetherium.services.job_files import prefix_of
from aetherium.sources.delivery import Delivery
from aetherium.sources.opening import open_source


async def pack(
    source: JobSource, objects: ObjectStore, job_id: str, scratch: Path, max_bytes: int
) -> JobSource:
    """Bring a source of this host to the object store, with the files of its job; what its worker is told
    instead. What every host can reach by itself stays as it is.

    Args:
        scratch: a directory in which to prepare it.

    Raises SourceFailed, InvalidInput, LimitExceeded, Unavailable.
    """
    if isinstance(source, PackedSource):
        return source  # it came as an upload, which is with the files of its job already
    if isinstance(source, GitSource) and "://" in source.url and not source.url.startswith("file:"):
        return source
    await asyncio.to_thread(scratch.mkdir, mode=0o700, parents=True, exist_ok=True)
    area = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=scratch))
    try:
        delivery = await open_source(source, area, max_bytes)
        async with aclosing(delivery.pieces) as pieces:
            await objects.put(prefix_of(job_id) + SOURCE, pieces)
    finally:
        await asyncio.to_thread(shutil.rmtree, area, ignore_errors=True)
    return PackedSource(delivery.commit, delivery.clean, delivery.warnings)


def open_packed(source: PackedSource, pieces: AsyncGenerator[bytes, None], job_id: str) -> Delivery:
    """What `pack` has packed, of which these are the pieces."""
    return Delivery(source.commit, source.clean, _there(pieces, job_id), source.warnings)


async def _there(pieces: AsyncGenerator[bytes, None], job_id: str) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece
    except NotFound as error:
        raise SourceFailed(f"The packed source of {job_id} is gone.", hint="Submit the job again.") from error
