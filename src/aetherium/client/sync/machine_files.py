"""The files in a VM; see aetherium.client.machine_files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TextIO, overload

from aetherium.client import machine_files
from aetherium.client.opened import PIECE, BinaryMode, Mode, TextMode
from aetherium.client.sync.loop import Loop
from aetherium.client.sync.opened import SyncFile
from aetherium.domain.guest import FileEvent, FileStat


class MachineFiles:
    """``vm.files``. Paths are the guest's; what goes wrong there is a GuestError whose ``details`` have the
    ``errno``."""

    def __init__(self, inner: machine_files.MachineFiles, loop: Loop) -> None:
        self._inner = inner
        self._loop = loop

    def read(self, path: str) -> bytes:
        """A file's bytes; large files are better opened."""
        return self._loop.run(self._inner.read(path))

    def read_text(self, path: str) -> str:
        """A file's text, in UTF-8."""
        return self._loop.run(self._inner.read_text(path))

    def write(
        self, path: str, data: bytes | str, *, mode: int | None = None, user: str | None = None
    ) -> FileStat:
        """Replace a file atomically, or make it."""
        return self._loop.run(self._inner.write(path, data, mode=mode, user=user))

    @overload
    def open(self, path: str, mode: TextMode = "r") -> TextIO: ...
    @overload
    def open(self, path: str, mode: BinaryMode) -> BinaryIO: ...
    def open(self, path: str, mode: TextMode | BinaryMode = "r") -> TextIO | BinaryIO:
        """A file object of the standard library's own kinds (module io). Modes are those of `open`.

        What is written is seen in the VM piece by piece; `write` replaces a file at once.
        """
        wanted = Mode.parse(mode)
        raw = SyncFile(self._loop.run(self._inner.open_raw(path, wanted)), self._loop)
        buffered = _buffered(raw, wanted)
        return io.TextIOWrapper(buffered, encoding="utf-8") if wanted.text else buffered

    def upload(self, local: Path | str, path: str, *, user: str | None = None) -> None:
        """Copy a file of this host to `path`, or what is in a directory to below `path`, which is made."""
        self._loop.run(self._inner.upload(local, path, user=user))

    def download(self, path: str, local: Path | str) -> None:
        """Copy a file to `local`, as a whole or not at all, or what is in a directory to below `local`."""
        self._loop.run(self._inner.download(path, local))

    def stat(self, path: str) -> FileStat:
        """One entry; symbolic links are not followed."""
        return self._loop.run(self._inner.stat(path))

    def list(self, path: str) -> Sequence[FileStat]:
        """The entries of a directory, by name."""
        return self._loop.run(self._inner.list(path))

    def mkdir(self, path: str, *, parents: bool = True, mode: int = 0o755, user: str | None = None) -> None:
        """Make a directory."""
        self._loop.run(self._inner.mkdir(path, parents=parents, mode=mode, user=user))

    def move(self, source: str, target: str) -> None:
        """Move or rename."""
        self._loop.run(self._inner.move(source, target))

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or directory."""
        self._loop.run(self._inner.remove(path, recursive=recursive))

    def chmod(self, path: str, mode: int) -> None:
        """Change permission bits."""
        self._loop.run(self._inner.chmod(path, mode))

    def watch(self, path: str) -> Iterator[FileEvent]:
        """Changes under a path."""
        return self._loop.iterate(self._inner.watch(path))


def _buffered(raw: SyncFile, mode: Mode) -> BinaryIO:
    if mode.read and mode.write:
        return io.BufferedRandom(raw, PIECE)
    return io.BufferedReader(raw, PIECE) if mode.read else io.BufferedWriter(raw, PIECE)
