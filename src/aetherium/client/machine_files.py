"""The files in a VM."""

from __future__ import annotations

import asyncio
import posixpath
import stat
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import overload

from aetherium.client import archives, saving
from aetherium.client.files import Files
from aetherium.client.opened import BinaryFile, BinaryMode, Mode, RawFile, TextFile, TextMode
from aetherium.client.pending import Pending
from aetherium.client.transport import Transport
from aetherium.domain.guest import FileEvent, FileKind, FileStat

_PIECE = 256 * 1024


class MachineFiles:
    """``vm.files``. Paths are the guest's; what goes wrong there is a GuestError whose ``details`` have the
    ``errno``."""

    def __init__(self, transport: Transport, vm_id: str) -> None:
        self._files = Files(transport)
        self._vm = vm_id

    async def read(self, path: str) -> bytes:
        """A file's bytes; large files are better opened."""
        return b"".join([piece async for piece in self._files.read(self._vm, path)])

    async def read_text(self, path: str) -> str:
        """A file's text, in UTF-8."""
        return (await self.read(path)).decode()

    async def write(
        self,
        path: str,
        data: AsyncIterable[bytes] | bytes | str,
        *,
        mode: int | None = None,
        user: str | None = None,
    ) -> FileStat:
        """Replace a file atomically, or make it."""
        sent = data.encode() if isinstance(data, str) else data
        return await self._files.write(self._vm, path, sent, mode=mode, user=user)

    @overload
    def open(self, path: str, mode: TextMode = "r") -> Pending[TextFile]: ...
    @overload
    def open(self, path: str, mode: BinaryMode) -> Pending[BinaryFile]: ...
    def open(self, path: str, mode: TextMode | BinaryMode = "r") -> Pending[TextFile] | Pending[BinaryFile]:
        """A file object, to be awaited and closed, or used with ``async with``. Modes are those of `open`.

        What is written is seen in the VM piece by piece; `write` replaces a file at once.
        """
        wanted = Mode.parse(mode)

        async def binary() -> BinaryFile:
            return BinaryFile(await self.open_raw(path, wanted))

        async def text() -> TextFile:
            return TextFile(await binary())

        return Pending(text, TextFile.close) if wanted.text else Pending(binary, BinaryFile.close)

    async def open_raw(self, path: str, mode: Mode) -> RawFile:
        """A file without buffers, to build others upon."""
        return await RawFile.open(self._files, self._vm, path, mode)

    async def upload(self, local: Path | str, path: str, *, user: str | None = None) -> None:
        """Copy a file of this host to `path`, or what is in a directory to below `path`, which is made."""
        source = Path(local)
        facts = await asyncio.to_thread(source.stat)
        if stat.S_ISDIR(facts.st_mode):
            await self._files.mkdir(self._vm, path, user=user)
            await self._files.archive_in(self._vm, path, archives.pack(source), user=user)
            return
        mode = stat.S_IMODE(facts.st_mode)
        await self._files.write(self._vm, path, _pieces(source), mode=mode, user=user)

    async def download(self, path: str, local: Path | str) -> None:
        """Copy a file to `local`, as a whole or not at all, or what is in a directory to below `local`."""
        target = Path(local)
        found = await self.stat(path)
        if found.kind is FileKind.SYMLINK:
            found = await self.stat(posixpath.join(posixpath.dirname(path), found.target))
        if found.kind is FileKind.DIRECTORY:
            await archives.unpack(self._files.archive_out(self._vm, path), target)
            return
        await saving.save(self._files.read(self._vm, path), target, mode=found.mode & 0o777, field="local")

    async def stat(self, path: str) -> FileStat:
        """One entry; symbolic links are not followed."""
        return await self._files.stat(self._vm, path)

    async def list(self, path: str) -> Sequence[FileStat]:
        """The entries of a directory, by name."""
        return await self._files.list(self._vm, path)

    async def mkdir(
        self, path: str, *, parents: bool = True, mode: int = 0o755, user: str | None = None
    ) -> None:
        """Make a directory."""
        await self._files.mkdir(self._vm, path, parents=parents, mode=mode, user=user)

    async def move(self, source: str, target: str) -> None:
        """Move or rename."""
        await self._files.move(self._vm, source, target)

    async def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or directory."""
        await self._files.remove(self._vm, path, recursive=recursive)

    async def chmod(self, path: str, mode: int) -> None:
        """Change permission bits."""
        await self._files.chmod(self._vm, path, mode)

    def watch(self, path: str) -> AbstractAsyncContextManager[AsyncIterator[FileEvent]]:
        """Changes under a path; on entry the watch is in place."""
        return self._files.watch(self._vm, path)


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
