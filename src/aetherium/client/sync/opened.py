"""A file in a VM as one of the standard library's raw files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from aetherium.client.opened import RawFile
from aetherium.client.sync.loop import Loop

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class SyncFile(io.RawIOBase):
    """Each call is a request: it is meant to lie under a buffer of module io."""

    def __init__(self, raw: RawFile, loop: Loop) -> None:
        self._raw = raw
        self._loop = loop
        self.name = raw.path

    def readable(self) -> bool:
        return self._raw.mode.read

    def writable(self) -> bool:
        return self._raw.mode.write

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._loop.run(self._raw.read(len(view)))
        view[: len(data)] = data
        return len(data)

    def write(self, data: ReadableBuffer, /) -> int:
        sent = bytes(data)
        self._loop.run(self._raw.write(sent))
        return len(sent)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._loop.run(self._raw.seek(offset, whence))

    def tell(self) -> int:
        return self._raw.position
