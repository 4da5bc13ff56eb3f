"""Tar archives out of a directory. Runs in a helper process (see helpers.py)."""

import os
import stat
import tarfile
from collections.abc import Iterator

from aetherium.guest.globs import Patterns

BUFFER = 256 * 1024


def create(path: str, include: list[str], exclude: list[str], sink: int) -> None:
    """Write a pax archive of `path`, a file or directory, to the descriptor `sink`.

    Names are relative to `path`; a file has its own name. Only what matches `include` (if any) and not
    `exclude` goes in; sockets do not.
    """
    wanted, unwanted = Patterns(include), Patterns(exclude)
    with (
        open(sink, "wb", buffering=0, closefd=False) as raw,
        tarfile.open(fileobj=raw, mode="w|", bufsize=BUFFER, format=tarfile.PAX_FORMAT) as archive,
    ):
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            archive.add(path, os.path.basename(path), recursive=False)
            return
        for name in _walk(path, unwanted):
            if not wanted or wanted.match(name):
                _add(archive, os.path.join(path, name), name)


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


def _add(archive: tarfile.TarFile, path: str, name: str) -> None:
    """Add one entry. A file that vanishes is left out; one that shrinks is filled up with zeros."""
    try:
        entry = archive.gettarinfo(path, name)
    except FileNotFoundError:
        return
    if entry is None:
        return  # a socket
    if not entry.isreg():
        archive.addfile(entry)
        return
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        return
    with file:
        archive.addfile(entry, _Padded(file.fileno(), entry.size))  # type: ignore[arg-type]  # read() is all it uses


class _Padded:
    """A file of a promised size, whatever happens to it while it is read."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._left = size

    def read(self, size: int) -> bytes:
        size = min(size, self._left)
        data = os.read(self._fd, size)
        data += b"" if len(data) == size else self._rest(size - len(data))
        self._left -= len(data)
        return data

    def _rest(self, size: int) -> bytes:
        pieces = b""
        while len(pieces) < size:
            piece = os.read(self._fd, size - len(pieces))
            pieces += piece or bytes(size - len(pieces))
        return pieces
