"""Directories as tar streams, and back. What comes out of a VM is not trusted.

Both directions go through a pipe to a thread that runs tarfile, so nothing is held as a whole.
"""

from __future__ import annotations

import asyncio
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

from aetherium.domain.errors import InvalidInput, ProtocolViolation

_PIECE = 256 * 1024


async def pack(directory: Path) -> AsyncIterator[bytes]:
    """The contents of a directory as a tar stream."""
    reader, writer = os.pipe()

    def produce() -> None:
        with (
            os.fdopen(writer, "wb") as out,
            tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            for entry in sorted(directory.iterdir()):
                archive.add(entry, arcname=entry.name, filter=_plain)

    producing = asyncio.ensure_future(asyncio.to_thread(produce))
    with os.fdopen(reader, "rb", buffering=0) as source:
        try:
            while piece := await asyncio.to_thread(source.read, _PIECE):
                yield piece
        finally:
            source.close()  # a producer that still writes ends with EPIPE
            try:
                await producing
            except BrokenPipeError:
                pass
            except OSError as error:
                raise InvalidInput(
                    f"{error.filename or directory} cannot be read: {error.strerror}."
                ) from error


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Files, directories and links; no sockets and devices. Nothing of the host's users."""
    if not (entry.isfile() or entry.isdir() or entry.issym() or entry.islnk()):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


async def unpack(pieces: AsyncIterator[bytes], directory: Path) -> None:
    """Unpack a tar stream below `directory`, which is made. Raises ProtocolViolation for an archive that is
    broken, or that would write anywhere else."""
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    reader, writer = os.pipe()

    def consume() -> None:
        with os.fdopen(reader, "rb") as source, tarfile.open(fileobj=source, mode="r|") as archive:
            archive.extractall(directory, filter="data")

    consuming = asyncio.ensure_future(asyncio.to_thread(consume))
    try:
        with os.fdopen(writer, "wb", buffering=0) as sink:
            async for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[await asyncio.to_thread(sink.write, view) :]
    except BrokenPipeError:
        pass  # the other end says what was wrong
    finally:
        try:
            await consuming
        except tarfile.TarError as error:
            raise ProtocolViolation(
                f"The VM sent an archive that is not unpacked: {error}.",
                hint=f"What came before that is in {directory}.",
            ) from error
