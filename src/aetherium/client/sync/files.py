"""Files in a VM."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.client.sync.loop import Part, joined
from aetherium.domain.guest import FileStat


class Files(Part):
    """``client.files``; see aetherium.client.files. Whole files in memory: for large ones, AsyncClient."""

    def read(self, vm: str, path: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """A file's bytes, or a range of them."""
        return self._loop.run(joined(self._client.files.read(vm, path, offset=offset, length=length)))

    def write(
        self, vm: str, path: str, data: bytes, *, mode: int | None = None, user: str | None = None
    ) -> FileStat:
        """Replace a file atomically."""
        return self._loop.run(self._client.files.write(vm, path, data, mode=mode, user=user))

    def stat(self, vm: str, path: str) -> FileStat:
        """One entry."""
        return self._loop.run(self._client.files.stat(vm, path))

    def list(self, vm: str, path: str) -> Sequence[FileStat]:
        """The entries of a directory."""
        return self._loop.run(self._client.files.list(vm, path))

    def mkdir(self, vm: str, path: str, *, parents: bool = True) -> None:
        """Make a directory."""
        self._loop.run(self._client.files.mkdir(vm, path, parents=parents))

    def move(self, vm: str, source: str, target: str) -> None:
        """Move or rename."""
        self._loop.run(self._client.files.move(vm, source, target))

    def remove(self, vm: str, path: str, *, recursive: bool = False) -> None:
        """Remove a file or directory."""
        self._loop.run(self._client.files.remove(vm, path, recursive=recursive))
