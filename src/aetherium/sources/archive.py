"""A tar or zip archive: checked entry by entry, and sent on as a plain tar stream."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import lzma
import stat
import zipfile
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import IO, cast

from aetherium.domain.errors import LimitExceeded, SourceFailed
from aetherium.domain.guest import FileKind
from aetherium.domain.jobs import ArchiveSource
from aetherium.sources.delivery import Delivery
from aetherium.sources.tarstream import (
    BLOCK,
    END,
    PIECE,
    BrokenArchive,
    Entry,
    TarStream,
    hard_link,
    header,
    in_thread,
)

MAX_ENTRIES = 1_000_000
_MAX_LINK = 4096
_DAMAGED = (
    OSError,
    EOFError,
    lzma.LZMAError,
    zlib.error,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
)


async def open_archive(source: ArchiveSource) -> Delivery:
    """Raises SourceFailed; from the stream also for entries that no honest archive has."""
    path = Path(source.path)
    try:
        kind = await asyncio.to_thread(_kind, path)
    except OSError as error:
        raise SourceFailed(f"The archive {source.path!r} cannot be read: {error.strerror}.") from error
    if kind == "zip":
        pieces = in_thread(_damage(path, _zip(path, source.strip)))
    else:
        pieces = _tar(path, kind, source.strip)
    return Delivery("", False, pieces)


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        begin = file.read(8)
    for magic, kind in ((b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ\0", "xz"), (b"PK", "zip")):
        if begin.startswith(magic):
            return kind
    if begin.startswith(b"\x28\xb5\x2f\xfd"):
        raise SourceFailed(
            f"{path.name} is packed with zstd, which is not taken.", hint="Use gzip, bzip2, xz or zip."
        )
    return "tar"


def _open(path: Path, kind: str) -> IO[bytes]:
    if kind == "gz":
        return cast(IO[bytes], gzip.open(path))
    if kind == "bz2":
        return cast(IO[bytes], bz2.open(path))
    return cast(IO[bytes], lzma.open(path)) if kind == "xz" else path.open("rb")


def _unpacked(path: Path, kind: str) -> Iterator[bytes]:
    with _open(path, kind) as file:
        while piece := file.read(PIECE):
            yield piece


def _damage(path: Path, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces; what the unpackers say of a damaged file becomes SourceFailed."""
    try:
        yield from pieces
    except _DAMAGED as error:
        raise SourceFailed(f"The archive {str(path)!r} is damaged: {error}.") from error


async def _tar(path: Path, kind: str, strip: int) -> AsyncGenerator[bytes, None]:
    async with aclosing(in_thread(_damage(path, _unpacked(path, kind)))) as pieces:
        try:
            async for piece in _entries(path, TarStream(pieces), strip):
                yield piece
        except BrokenArchive as error:
            raise SourceFailed(f"{str(path)!r}: {error.message}", hint=error.hint) from error
    yield END


async def _entries(path: Path, archive: TarStream, strip: int) -> AsyncGenerator[bytes, None]:
    count = 0
    async for entry in archive:
        count = _counted(path, count)
        name = stripped(path, entry.name, strip)
        if name is None:
            continue
        yield _header(path, entry, name, strip)
        if entry.kind is FileKind.FILE and not entry.hard_link:
            async for piece in archive.content():
                yield piece
            yield bytes(-entry.size % BLOCK)


def _header(path: Path, entry: Entry, name: str, strip: int) -> bytes:
    if entry.kind is FileKind.OTHER:
        raise SourceFailed(f"The archive {str(path)!r} holds {entry.name!r}, which is a device or a pipe.")
    if entry.hard_link:
        target = stripped(path, entry.target, strip)
        if target is None:
            raise SourceFailed(f"The archive {str(path)!r} links {entry.name!r} to what 'strip' drops.")
        return hard_link(name, target)
    mode = entry.mode & 0o777 | (0o700 if entry.kind is FileKind.DIRECTORY else 0)
    return header(name, entry.kind, mode=mode, size=entry.size, mtime=entry.mtime, target=entry.target)


def _zip(path: Path, strip: int) -> Iterator[bytes]:
    count = 0
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            count = _counted(path, count)
            name = stripped(path, info.filename, strip)
            if name is None:
                continue
            mode = info.external_attr >> 16
            if info.is_dir():
                yield header(name, FileKind.DIRECTORY, mode=0o755)
            elif stat.S_ISLNK(mode):
                if info.file_size > _MAX_LINK:
                    raise SourceFailed(f"The archive {str(path)!r} has a link of {info.file_size} bytes.")
                yield header(
                    name,
                    FileKind.SYMLINK,
                    mode=0o777,
                    target=archive.read(info).decode(errors="surrogateescape"),
                )
            elif stat.S_IFMT(mode) in (0, stat.S_IFREG):
                yield header(name, FileKind.FILE, mode=mode & 0o777 or 0o644, size=info.file_size)
                yield from _member(path, archive, info)
            else:
                raise SourceFailed(
                    f"The archive {str(path)!r} holds {info.filename!r}, which is a device or a pipe."
                )
    yield END


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """A file's bytes, exactly as many as its header has said."""
    left = info.file_size
    with archive.open(info) as file:
        while piece := file.read(PIECE):
            left -= len(piece)
            if left < 0:
                break
            yield piece
    if left:
        raise SourceFailed(f"The archive {str(path)!r} lies about the size of {info.filename!r}.")
    yield bytes(-info.file_size % BLOCK)


def stripped(path: Path, name: str, strip: int) -> str | None:
    """The name without its first `strip` components; None if nothing is left. Raises SourceFailed for one
    that would lead out of the directory."""
    if name.startswith("/") or "\0" in name:
        raise SourceFailed(f"The archive {str(path)!r} holds the absolute path {name!r}.")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise SourceFailed(f"The archive {str(path)!r} holds {name!r}, which leads out of it.")
    return "/".join(parts[strip:]) or None


def _counted(path: Path, count: int) -> int:
    if count >= MAX_ENTRIES:
        raise LimitExceeded(
            f"The archive {str(path)!r} has more than {MAX_ENTRIES} entries.", limit=MAX_ENTRIES
        )
    return count + 1
