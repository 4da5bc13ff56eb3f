"""A directory of sparse files as one stream of bytes, and back.

::

    begin   b"aetherium files 1\n"
    file    b"F" · mode u32 · size u64 · length of the name u16 · name
    data    b"D" · offset u64 · length u32 · CRC-32 u32 · bytes
    end     b"E"

Numbers are big-endian. Data belong to the file before them; what is not mentioned of a file is a hole, so
that the memory of a VM costs what it has written. The files are plain ones; links become copies.

Nothing is compressed: of 178 MiB of a VM's memory zlib's level 1 leaves 63 MiB, but it takes 1.8 s of a
processor that VMs want, and before that the whole has gone over a link of 1 Gbit/s.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
import struct
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterator
from contextlib import ExitStack
from io import FileIO
from pathlib import Path

from aetherium.domain.errors import Unavailable, VMFailed
from aetherium.interfaces.finishing import finish

_BEGIN = b"aetherium files 1\n"
_FILE, _DATA, _END = b"F", b"D", b"E"
_FILE_HEAD, _DATA_HEAD = struct.Struct(">IQH"), struct.Struct(">QII")
# The most bytes of one record: each costs a way to a thread, and lies in memory.
_PIECE = 1 << 20
_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


async def packed(directory: Path) -> AsyncGenerator[bytes, None]:
    """The files of a directory, by name. Raises Unavailable for what cannot be read."""
    records = _records(directory)
    try:
        # `finish`: nobody may close the files while a thread is at them.
        while record := await finish(asyncio.to_thread(next, records, b"")):
            yield record
    except OSError as error:
        raise Unavailable(f"The files cannot be read: {error.strerror}.") from error
    finally:
        records.close()


async def unpack(pieces: AsyncIterable[bytes], directory: Path) -> None:
    """Make `directory` with the files that were packed. Raises VMFailed for what is damaged or not whole, and
    Unavailable if there is no room for it."""
    source = _Source(pieces)
    if await source.exactly(len(_BEGIN)) != _BEGIN:
        raise _damaged("it is no such stream")
    with ExitStack() as files:
        file: FileIO | None = None
        try:
            await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True)
            while (kind := await source.exactly(1)) != _END:
                if kind == _FILE:
                    file = files.enter_context(await _next_file(source, directory))
                elif kind == _DATA and file is not None:
                    await _next_data(source, file)
                else:
                    raise _damaged("it has something that is no record")
        except OSError as error:
            raise Unavailable(
                f"The files cannot be written: {error.strerror}.", hint="Is the disk full?"
            ) from error


def _records(directory: Path) -> Generator[bytes, None, None]:
    yield _BEGIN
    for path in sorted(directory.iterdir()):
        with path.open("rb", buffering=0) as file:
            facts, name = os.fstat(file.fileno()), path.name.encode()
            head = _FILE_HEAD.pack(stat.S_IMODE(facts.st_mode), facts.st_size, len(name))
            yield _FILE + head + name
            for begin, end in _extents(file.fileno()):
                for offset in range(begin, end, _PIECE):
                    data = os.pread(file.fileno(), min(_PIECE, end - offset), offset)
                    yield _DATA + _DATA_HEAD.pack(offset, len(data), zlib.crc32(data)) + data
    yield _END


def _extents(fd: int) -> Iterator[tuple[int, int]]:
    """Begin and end of what a file has data of."""
    end, size = 0, os.fstat(fd).st_size
    while end < size:
        try:
            begin = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:  # ENXIO: no data after this
            return
        end = os.lseek(fd, begin, os.SEEK_HOLE)
        yield begin, end


async def _next_file(source: _Source, directory: Path) -> FileIO:
    mode, size, length = _FILE_HEAD.unpack(await source.exactly(_FILE_HEAD.size))
    name = await source.exactly(length)
    if not _NAME.fullmatch(name):
        raise _damaged("it has a file with a name that none has")
    fd = os.open(directory / name.decode(), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    file = FileIO(fd, "r+")
    os.fchmod(fd, mode & 0o666)
    file.truncate(size)
    return file


async def _next_data(source: _Source, file: FileIO) -> None:
    offset, length, checksum = _DATA_HEAD.unpack(await source.exactly(_DATA_HEAD.size))
    if length > _PIECE:
        raise _damaged("it has a record that is too long")
    data = await source.exactly(length)
    # `finish`: nobody may close the file while a thread is at it.
    await finish(asyncio.to_thread(_write, file, offset, checksum, data))


def _write(file: FileIO, offset: int, checksum: int, data: bytes) -> None:
    if zlib.crc32(data) != checksum:
        raise _damaged("its bytes are wrong")
    if offset + len(data) > os.fstat(file.fileno()).st_size:
        raise _damaged("it has data beyond the end of a file")
    view = memoryview(data)
    while view:
        written = os.pwrite(file.fileno(), view, offset)
        view, offset = view[written:], offset + written


class _Source:
    """A stream to be read in pieces of the reader's choice."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self._pieces = aiter(pieces)
        self._waiting = bytearray()

    async def exactly(self, size: int) -> bytes:
        """The next bytes. Raises VMFailed if there are no more."""
        while len(self._waiting) < size:
            try:
                self._waiting += await anext(self._pieces)
            except StopAsyncIteration:
                raise _damaged("it ends too early") from None
        found = bytes(self._waiting[:size])
        del self._waiting[:size]
        return found


def _damaged(why: str) -> VMFailed:
    return VMFailed(f"The files came damaged: {why}.", hint="Make them again.")
