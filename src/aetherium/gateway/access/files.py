"""Files of one VM."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Protocol

from aetherium.domain.guest import FileEvent, FileStat
from aetherium.gateway.access.access import Access
from aetherium.gateway.access.rules import guards, opens, streams


class GuestFiles(Protocol):
    """What of a guest is about files; see interfaces/guest.py."""

    async def list(self, path: str) -> Sequence[FileStat]: ...

    async def stat(self, path: str) -> FileStat: ...

    def read(self, path: str, *, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]: ...

    async def write(
        self,
        path: str,
        data: AsyncIterable[bytes] | bytes,
        *,
        mode: int | None = None,
        user: str | None = None,
        offset: int | None = None,
    ) -> FileStat: ...

    async def mkdir(
        self, path: str, *, parents: bool = True, mode: int = 0o755, user: str | None = None
    ) -> None: ...

    async def move(self, source: str, target: str) -> None: ...

    async def remove(self, path: str, *, recursive: bool = False) -> None: ...

    async def chmod(self, path: str, mode: int) -> None: ...

    def watch(self, path: str) -> AbstractAsyncContextManager[AsyncIterator[FileEvent]]: ...

    def archive_out(
        self, path: str, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> AsyncIterator[bytes]: ...

    async def archive_in(self, path: str, data: AsyncIterable[bytes], *, user: str | None = None) -> None: ...


class Files:
    """See interfaces/guest.py."""

    def __init__(self, access: Access, guest: GuestFiles, vm_id: str) -> None:
        self._access = replace(access, within=f"{vm_id}:")
        self._guest = guest

    @guards("files:read")
    async def list(self, path: str) -> Sequence[FileStat]:
        return await self._guest.list(path)

    @guards("files:read")
    async def stat(self, path: str) -> FileStat:
        return await self._guest.stat(path)

    @streams("files:read")
    def read(self, path: str, *, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        return self._guest.read(path, offset=offset, length=length)

    @guards("files:write", "file.write")
    async def write(
        self,
        path: str,
        data: AsyncIterable[bytes] | bytes,
        *,
        mode: int | None = None,
        user: str | None = None,
        offset: int | None = None,
    ) -> FileStat:
        return await self._guest.write(path, data, mode=mode, user=user, offset=offset)

    @guards("files:write", "file.mkdir")
    async def mkdir(
        self, path: str, *, parents: bool = True, mode: int = 0o755, user: str | None = None
    ) -> None:
        await self._guest.mkdir(path, parents=parents, mode=mode, user=user)

    @guards("files:write", "file.move")
    async def move(self, source: str, target: str) -> None:
        await self._guest.move(source, target)

    @guards("files:write", "file.remove")
    async def remove(self, path: str, *, recursive: bool = False) -> None:
        await self._guest.remove(path, recursive=recursive)

    @guards("files:write", "file.chmod")
    async def chmod(self, path: str, mode: int) -> None:
        await self._guest.chmod(path, mode)

    @opens("files:read")
    def watch(self, path: str) -> AbstractAsyncContextManager[AsyncIterator[FileEvent]]:
        return self._guest.watch(path)

    @streams("files:read")
    def archive_out(
        self, path: str, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> AsyncIterator[bytes]:
        return self._guest.archive_out(path, include=include, exclude=exclude)

    @guards("files:write", "file.unpack")
    async def archive_in(self, path: str, data: AsyncIterable[bytes], *, user: str | None = None) -> None:
        await self._guest.archive_in(path, data, user=user)
