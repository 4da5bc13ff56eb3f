"""Tar archives out of a directory. Runs in a helper process (see helpers.py)."""

import os
import stat
from collections.abc import Iterator
from io import BytesIO
from tarfile import BLOCKSIZE, PAX_FORMAT, RECORDSIZE, TarFile

from aetherium.guest.globs import Patterns

CHUNK = 1 << 20


def create(path: str, include: list[str], exclude: list[str], sink: int) -> None:
    """Write a pax archive of `path`, a file or directory, to the descriptor `sink`.

    Names are relative to `path`; a file has its own name. Only what matches `include` (if any) and not
    `exclude` goes in; sockets do not.
    """
    writer = _Writer(sink)
    if stat.S_ISDIR(os.lstat(path).st_mode):
        wanted, unwanted = Patterns(include), Patterns(exclude)
        for name in _walk(path, unwanted):
            if not wanted or wanted.match(name):
                writer.add(os.path.join(path, name), name)
    else:
        writer.add(path, os.path.basename(path))
    writer.finish()


def _walk(top: str, unwanted: Patterns) -> Iterator[str]:
    """Relative names below `top`, directories before what they hold, excluded ones not entered."""
    pending = [""]
    while pending:
        directory = pending.pop()
        try:
            names = sorted(os.listdir(os.path.join(top, directory)))
        except FileNotFoundError:
            continue  # removed meanwhile
        for name in names:
            relative = f"{directory}/{name}" if directory else name
            if unwanted.match(relative):
                continue
            yield relative
            full = os.path.join(top, relative)
            if os.path.isdir(full) and not os.path.islink(full):
                pending.append(relative)


class _Writer:
    """tarfile makes the headers; contents go from file to pipe inside the kernel."""

    def __init__(self, sink: int) -> None:
        self._sink = sink
        # Knows users, groups and hard links; nothing is ever written to it.
        self._headers = TarFile(fileobj=BytesIO(), mode="w", format=PAX_FORMAT)
        self._size = 0

    def add(self, path: str, name: str) -> None:
        """Add one entry. What vanishes is left out; a file that shrinks is filled up with zeros."""
        try:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                return
            entry = self._headers.gettarinfo(path, name)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW) if entry.isreg() else -1
        except FileNotFoundError:
            return
        try:
            self._write(entry.tobuf(PAX_FORMAT, "utf-8", "surrogateescape"))
            if fd >= 0:
                self._content(fd, entry.size)
        finally:
            if fd >= 0:
                os.close(fd)

    def finish(self) -> None:
        """The end of an archive: two empty blocks, and zeros up to a whole record."""
        self._write(bytes(2 * BLOCKSIZE))
        self._write(bytes(-self._size % RECORDSIZE))

    def _content(self, fd: int, size: int) -> None:
        left = size
        while left:
            count = os.sendfile(self._sink, fd, None, min(left, CHUNK))
            if count == 0:
                break
            left -= count
        self._size += size - left
        padding = left + -size % BLOCKSIZE
        while padding:
            piece = min(padding, CHUNK)
            self._write(bytes(piece))
            padding -= piece

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._sink, view) :]
