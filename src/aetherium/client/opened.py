"""Files in a VM as file objects, read and written in pieces."""

from __future__ import annotations

import codecs
import io
import posixpath
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from aetherium.client.files import Files
from aetherium.domain.errors import GuestError, InvalidInput, NotFound
from aetherium.domain.guest import FileKind, FileStat

# What one request moves of a file that is read or written from its begin to its end.
PIECE = 256 * 1024
# The same for one that is read as a whole, and so is held as a whole.
_WHOLE = 16 << 20
# As many as Linux follows (path_resolution(7)).
_MOST_LINKS = 40

TextMode = Literal["r", "w", "a", "x", "r+", "w+", "a+", "x+"]
BinaryMode = Literal["rb", "wb", "ab", "xb", "rb+", "wb+", "ab+", "xb+", "r+b", "w+b", "a+b", "x+b"]


@dataclass(frozen=True, slots=True)
class Mode:
    """What a file is opened for.

    Args:
        kind: r, w, a or x, as `open` has them.
    """

    kind: str
    text: bool
    read: bool
    write: bool

    @classmethod
    def parse(cls, mode: str) -> Mode:
        """Raises InvalidInput for what `open` would not take."""
        kind, more = mode[:1], sorted(mode[1:])
        if kind not in ("r", "w", "a", "x") or more not in ([], ["+"], ["b"], ["+", "b"]):
            raise InvalidInput(
                f"A file cannot be opened with {mode!r}.",
                hint="Use r, w, a or x, with b for bytes and + for reading and writing.",
                field="mode",
            )
        both = "+" in more
        return cls(kind, "b" not in more, kind == "r" or both, kind != "r" or both)


class RawFile:
    """The bytes of a file, and a position in it; each call is a request."""

    def __init__(self, files: Files, vm: str, path: str, mode: Mode) -> None:
        self._files = files
        self._vm = vm
        self.path = path
        self.mode = mode
        self.position = 0

    @classmethod
    async def open(cls, files: Files, vm: str, path: str, mode: Mode) -> RawFile:
        """Raises GuestError."""
        found = None
        try:
            found = await _behind_links(files, vm, path)
        except (GuestError, NotFound) as error:
            if mode.kind == "r" or error.details.get("errno") != "ENOENT":
                raise
        if found is not None and mode.kind == "x":
            raise GuestError(f"There is {path} already.", errno="EEXIST")
        if found is None or mode.kind == "w":
            found = await files.write(vm, path if found is None else found.path, b"")
        file = cls(files, vm, found.path, mode)
        file.position = found.size if mode.kind == "a" else 0
        return file

    async def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at its end."""
        if not self.mode.read:
            raise io.UnsupportedOperation("not readable")
        pieces = self._files.read(self._vm, self.path, offset=self.position, length=size)
        data = b"".join([piece async for piece in pieces])
        self.position += len(data)
        return data

    async def write(self, data: bytes) -> None:
        """All of `data`, at the position; in a file that is opened to append to, at its end."""
        if not self.mode.write:
            raise io.UnsupportedOperation("not writable")
        if self.mode.kind == "a":
            self.position = await self.size()
        await self._files.write(self._vm, self.path, data, offset=self.position)
        self.position += len(data)

    async def size(self) -> int:
        """Bytes that it has now."""
        return (await self._files.stat(self._vm, self.path)).size

    async def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, which is returned."""
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self.position}
        place = offset + (begin[whence] if whence in begin else await self.size())
        if place < 0:
            raise ValueError(f"negative position {place}")
        self.position = place
        return place


async def _behind_links(files: Files, vm: str, path: str) -> FileStat:
    for _ in range(_MOST_LINKS):
        found = await files.stat(vm, path)
        if found.kind is not FileKind.SYMLINK:
            return found
        path = posixpath.join(posixpath.dirname(path), found.target)
    raise GuestError(f"There are too many links at {path}.", errno="ELOOP")


class BinaryFile:
    """A file of bytes. Iterate for its lines."""

    def __init__(self, raw: RawFile) -> None:
        self._raw = raw
        self._ahead = bytearray()  # read, and not yet taken
        self._behind = bytearray()  # written, and not yet sent
        self.closed = False

    async def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, fewer only at its end; below 0: all."""
        await self.flush()
        while size < 0 or len(self._ahead) < size:
            if not await self._more(_WHOLE if size < 0 else max(PIECE, size - len(self._ahead))):
                break
        return self._take(len(self._ahead) if size < 0 else size)

    async def readline(self) -> bytes:
        """Up to the end of the line, and with it; empty at the end of the file."""
        await self.flush()
        looked = 0
        while (place := self._ahead.find(b"\n", looked)) < 0:
            looked = len(self._ahead)
            if not await self._more(PIECE):
                return self._take(looked)
        return self._take(place + 1)

    async def write(self, data: bytes) -> int:
        """Write; it is sent when there is enough of it, and with `flush`."""
        if self.closed or not self._raw.mode.write:
            raise io.UnsupportedOperation("not writable")
        self._forget()
        self._behind += data
        if len(self._behind) >= PIECE:
            await self.flush()
        return len(data)

    async def flush(self) -> None:
        """Send what was written."""
        if self._behind:
            data = bytes(self._behind)
            await self._raw.write(data)
            del self._behind[: len(data)]

    async def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position: of the file (0), from here (1), from its end (2)."""
        await self.flush()
        self._forget()
        return await self._raw.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._raw.position - len(self._ahead) + len(self._behind)

    async def close(self) -> None:
        """Send what was written, and be done."""
        if not self.closed:
            await self.flush()
            self.closed = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while line := await self.readline():
            yield line

    async def _more(self, size: int) -> bool:
        if self.closed:
            raise ValueError("The file is closed.")
        data = await self._raw.read(size)
        self._ahead += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._ahead[:size])
        del self._ahead[:size]
        return taken

    def _forget(self) -> None:
        self._raw.position -= len(self._ahead)
        self._ahead.clear()


class TextFile:
    """A file of text in UTF-8. Iterate for its lines."""

    def __init__(self, binary: BinaryFile) -> None:
        self._binary = binary
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    async def read(self, size: int = -1) -> str:
        """Up to `size` characters, none only at its end; below 0: all."""
        if size < 0:
            return self._decoder.decode(await self._binary.read(), final=True)
        text = ""
        while not text and size and (data := await self._binary.read(size)):
            text = self._decoder.decode(data)
        return text

    async def readline(self) -> str:
        """Up to the end of the line, and with it; empty at the end of the file."""
        return self._decoder.decode(await self._binary.readline())

    async def write(self, text: str) -> int:
        """Write; it is sent when there is enough of it, and with `flush`."""
        await self._binary.write(text.encode())
        return len(text)

    async def flush(self) -> None:
        """Send what was written."""
        await self._binary.flush()

    async def close(self) -> None:
        """Send what was written, and be done."""
        await self._binary.close()

    async def __aiter__(self) -> AsyncIterator[str]:
        while line := await self.readline():
            yield line
