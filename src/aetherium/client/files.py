"""Files in a VM."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aetherium.client import values
from aetherium.client.transport import Transport, quoted
from aetherium.domain.guest import FileEvent, FileStat


class Files:
    """``client.files``. `vm` is a VM's id, name, or unique prefix of an id; paths are the guest's."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def read(self, vm: str, path: str, *, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """A file's bytes, or a range of them, streamed."""
        return self._http.download(
            f"{_at(vm)}/content", params={"path": path, "offset": offset, "length": length}
        )

    async def write(
        self,
        vm: str,
        path: str,
        data: AsyncIterable[bytes] | bytes,
        *,
        mode: int | None = None,
        user: str | None = None,
        offset: int | None = None,
    ) -> FileStat:
        """Write a file: replaced atomically, or in place from `offset` on."""
        params = {"path": path, "mode": mode, "user": user, "offset": offset}
        return values.load(FileStat, await self._http.send(f"{_at(vm)}/content", data, params=params))

    async def stat(self, vm: str, path: str) -> FileStat:
        """One entry; symbolic links are not followed."""
        return values.load(FileStat, await self._http.call("GET", f"{_at(vm)}/stat", params={"path": path}))

    async def list(self, vm: str, path: str) -> Sequence[FileStat]:
        """The entries of a directory, by name."""
        return values.load_all(FileStat, await self._http.call("GET", _at(vm), params={"path": path}))

    async def mkdir(
        self, vm: str, path: str, *, parents: bool = True, mode: int = 0o755, user: str | None = None
    ) -> None:
        """Make a directory."""
        body = {"path": path, "parents": parents, "mode": mode, "user": user}
        await self._http.call("POST", f"{_at(vm)}/mkdir", body=body)

    async def move(self, vm: str, source: str, target: str) -> None:
        """Move or rename."""
        await self._http.call("POST", f"{_at(vm)}/move", body={"source": source, "target": target})

    async def remove(self, vm: str, path: str, *, recursive: bool = False) -> None:
        """Remove a file or directory."""
        params = {"path": path, "recursive": "true" if recursive else None}
        await self._http.call("DELETE", _at(vm), params=params)

    async def chmod(self, vm: str, path: str, mode: int) -> None:
        """Change permission bits."""
        await self._http.call("POST", f"{_at(vm)}/chmod", body={"path": path, "mode": mode})

    def archive_out(
        self, vm: str, path: str, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> AsyncIterator[bytes]:
        """A file or directory as a tar stream."""
        return self._http.download(
            f"{_at(vm)}/archive",
            params={"path": path, "include": list(include), "exclude": list(exclude)},
        )

    async def archive_in(
        self, vm: str, path: str, data: AsyncIterable[bytes], *, user: str | None = None
    ) -> None:
        """Unpack a tar stream below a directory."""
        await self._http.send(f"{_at(vm)}/archive", data, params={"path": path, "user": user})

    @asynccontextmanager
    async def watch(self, vm: str, path: str) -> AsyncIterator[AsyncIterator[FileEvent]]:
        """Changes under a path; on entry the watch is in place."""
        async with self._http.lines("GET", f"{_at(vm)}/watch", params={"path": path}) as lines:
            await anext(lines)
            yield (values.load(FileEvent, line) async for line in lines)


def _at(vm: str) -> str:
    return f"/v1/vms/{quoted(vm)}/files"
