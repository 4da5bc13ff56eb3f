"""Tar streams, read strictly and written plainly.

tarfile of the standard library keeps headers of any size and maps of sparse files in memory, so it is not for
what comes from a guest or from a stranger's archive. This reader knows what tar writers really write (ustar,
pax, GNU long names), refuses the rest, and never holds more than one piece.
"""

from __future__ import annotations

import asyncio
import os
import stat
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from aetherium.domain.errors import InvalidInput, LimitExceeded, SourceFailed
from aetherium.domain.guest import FileKind
from aetherium.interfaces.finishing import finish

BLOCK = 512
PIECE = 256 * 1024
END = bytes(2 * BLOCK)
# A path has at most 4096 bytes; extended attributes make headers longer.
MAX_HEADER = 64 * 1024

_KINDS = {
    b"0": FileKind.FILE,
    b"\0": FileKind.FILE,
    b"7": FileKind.FILE,
    b"5": FileKind.DIRECTORY,
    b"2": FileKind.SYMLINK,
}
_HARD_LINK, _GNU_SPARSE = b"1", b"S"
_DEVICES = (b"3", b"4", b"6")
_LATEST = float(1 << 33)
_LIMIT = "The setting source_mib is the limit."
_PERMISSIONS = "It has to be readable for the user that Aetherium runs as."
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"


class BrokenArchive(InvalidInput):
    """A tar stream that is none, or holds what is not taken."""

    code = "broken_archive"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; names are decoded with surrogateescape.

    Args:
        hard_link: `target` names an earlier file that this one is the same as.
    """

    name: str
    kind: FileKind
    size: int
    mode: int
    mtime: float
    target: str = ""
    hard_link: bool = False


class TarStream:
    """Iterate over the entries; `content` streams the file at hand, and what is not read of it is skipped."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = b""
        self._at = 0  # what of the buffer was used
        self._left = 0  # of the content at hand
        self._padding = 0

    async def __aiter__(self) -> AsyncIterator[Entry]:
        extended: dict[str, bytes] = {}
        while True:
            await self._skip()
            header = await self._exact(BLOCK, "a header")
            if header == bytes(BLOCK):
                break
            size, kind = _checked(header), header[156:157]
            if kind in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
                if size > MAX_HEADER:
                    raise BrokenArchive(f"The archive has a header of {size} bytes.")
                body = await self._exact(size + -size % BLOCK, "a header")
                if kind == _PAX:
                    extended.update(_records(body[:size]))
                elif kind != _PAX_GLOBAL:
                    extended["path" if kind == _GNU_NAME else "linkpath"] = body[:size].rstrip(b"\0")
                continue
            entry = _entry(header, size, kind, extended)
            extended = {}
            self._left, self._padding = entry.size, -entry.size % BLOCK
            yield entry
        async for _ in self._pieces:  # padding: the sender must not find nobody there
            pass

    async def content(self) -> AsyncIterator[bytes]:
        """The bytes of the file at hand."""
        while self._left:
            if self._at == len(self._buffer):
                await self._more("a file")
            piece = self._buffer[self._at : self._at + self._left]
            self._at += len(piece)
            self._left -= len(piece)
            yield piece

    async def _skip(self) -> None:
        async for _ in self.content():
            pass
        await self._exact(self._padding, "a file")
        self._padding = 0

    async def _exact(self, count: int, what: str) -> bytes:
        while len(self._buffer) - self._at < count:
            await self._more(what)
        self._at += count
        return self._buffer[self._at - count : self._at]

    async def _more(self, what: str) -> None:
        piece = await anext(self._pieces, b"")
        if not piece:
            raise BrokenArchive(f"The archive ends in the middle of {what}.")
        self._buffer = self._buffer[self._at :] + piece
        self._at = 0


def _checked(header: bytes) -> int:
    """The size that a header names, if its checksum fits."""
    total = sum(header[:148]) + 8 * 32 + sum(header[156:])
    if _number(header[148:156]) != total:
        raise BrokenArchive("This is no tar archive: a header's checksum is wrong.")
    return _number(header[124:136])


def _number(field: bytes) -> int:
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0", 1)[0].strip()
    if not digits:
        return 0
    if digits.translate(None, b"01234567"):
        raise BrokenArchive("This is no tar archive: a header's number is wrong.")
    return int(digits, 8)


def _records(body: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    while body.strip(b"\0"):
        length, space, _ = body.partition(b" ")
        if not space or not length.isdigit() or not len(length) < int(length[:6]) <= len(body):
            raise BrokenArchive("The archive has a broken pax header.")
        record, body = body[: int(length)], body[int(length) :]
        key, equals, value = record[len(length) + 1 : -1].partition(b"=")
        if not equals or record[-1:] != b"\n":
            raise BrokenArchive("The archive has a broken pax header.")
        found[key.decode(errors="replace")] = value
    return found


def _entry(header: bytes, size: int, kind: bytes, extended: dict[str, bytes]) -> Entry:
    if kind == _GNU_SPARSE or any(key.startswith("GNU.sparse") for key in extended):
        raise BrokenArchive(
            "The archive has a sparse file, which is not taken.", hint="Pack it without --sparse."
        )
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    path = extended.get("path") or (prefix + b"/" + name if prefix else name)
    target = extended.get("linkpath") or header[157:257].split(b"\0", 1)[0]
    found = _KINDS.get(kind, FileKind.OTHER)
    if found is FileKind.FILE and path.endswith(b"/"):
        found = FileKind.DIRECTORY
    path = path.rstrip(b"/") or path
    if "size" in extended:
        size = _whole(extended["size"])
    if kind == _HARD_LINK:
        return Entry(os.fsdecode(path), FileKind.FILE, 0, 0, 0.0, os.fsdecode(target), True)
    if found in (FileKind.DIRECTORY, FileKind.SYMLINK) or kind in _DEVICES:
        size = 0
    mtime = extended.get("mtime")
    return Entry(
        os.fsdecode(path),
        found,
        size,
        _number(header[100:108]) & 0o7777,
        _number(header[136:148]) if mtime is None else _seconds(mtime),
        os.fsdecode(target),
    )


def _whole(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise BrokenArchive("The archive has a broken size.")
    return int(value)


def _seconds(value: bytes) -> float:
    try:
        seconds = float(value)
    except ValueError as error:
        raise BrokenArchive("The archive has a broken time.") from error
    return min(max(seconds, 0.0), _LATEST)  # NaN becomes 0


def header(
    name: str, kind: FileKind, *, mode: int, size: int = 0, mtime: float = 0.0, target: str = ""
) -> bytes:
    """The header of an entry, which belongs to nobody in particular."""
    info = tarfile.TarInfo(name)
    info.type = {FileKind.DIRECTORY: tarfile.DIRTYPE, FileKind.SYMLINK: tarfile.SYMTYPE}.get(
        kind, tarfile.REGTYPE
    )
    info.mode, info.size, info.mtime, info.linkname = mode, size, mtime, target
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def hard_link(name: str, target: str) -> bytes:
    """The header of a further name of a file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.LNKTYPE, target
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def file_entry(path: Path, name: str) -> Iterator[bytes]:
    """One file, directory or link of this host as an entry; nothing for what has vanished or is of another
    kind. A file that shrinks meanwhile is filled up with zeros."""
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            target = str(path.readlink())
            yield header(name, FileKind.SYMLINK, mode=0o777, mtime=found.st_mtime, target=target)
            return
        mode = stat.S_IMODE(found.st_mode) & 0o777
        if stat.S_ISDIR(found.st_mode):
            yield header(name, FileKind.DIRECTORY, mode=mode | 0o700, mtime=found.st_mtime)
            return
        if not stat.S_ISREG(found.st_mode):
            return
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SourceFailed(f"{str(path)!r} cannot be read: {error.strerror}.", hint=_PERMISSIONS) from error
    with os.fdopen(fd, "rb", buffering=0) as file:
        found = os.fstat(fd)
        yield header(name, FileKind.FILE, mode=mode, size=found.st_size, mtime=found.st_mtime)
        left = found.st_size
        while left:
            piece = file.read(min(left, PIECE)) or bytes(min(left, PIECE))
            left -= len(piece)
            yield piece
        yield bytes(-found.st_size % BLOCK)


async def in_thread(pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same pieces, made in a thread and put together to a decent size."""

    def gather() -> bytes:
        gathered = bytearray()
        for piece in pieces:
            gathered += piece
            if len(gathered) >= PIECE:
                break
        return bytes(gathered)

    # `finish`: nobody else may touch the iterator while a thread is in it.
    while piece := await finish(asyncio.to_thread(gather)):
        yield piece


async def limited(pieces: AsyncGenerator[bytes, None], limit: int, what: str) -> AsyncGenerator[bytes, None]:
    """The same pieces. Raises LimitExceeded once there are more than `limit` bytes."""
    total = 0
    async with aclosing(pieces):
        async for piece in pieces:
            total += len(piece)
            if total > limit:
                raise LimitExceeded(f"{what} has more than {limit >> 20} MiB.", hint=_LIMIT, limit=limit)
            yield piece
