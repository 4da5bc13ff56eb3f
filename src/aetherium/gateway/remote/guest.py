"""The files of a VM, as interfaces/guest.py has them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from aetherium.domain.guest import FileEvent, FileStat
from aetherium.gateway.remote.places import Place
from aetherium.gateway.remote.uploads import in_pieces, upload
from aetherium.gateway.remote.workers import Workers
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc import convert
from aetherium.rpc.errors import restore


class RemoteGuest:
    """See Guest for the methods.

    A lost connection to the worker is made again under what only reads; elsewhere it raises Unavailable.
    """

    def __init__(self, workers: Workers, place: Place) -> None:
        self._workers = workers
        self._vm_id = place.id
        self._worker_id = place.worker_id

    async def list(self, path: str) -> Sequence[FileStat]:
        """The entries of a directory, by name."""
        with convert.sending():
            request = pb.ListFilesRequest(vm_id=self._vm_id, path=convert.raw(path))
        found = await self._workers.collect(self._worker_id, lambda stub: stub.ListFiles, request)
        return [convert.stat_from_pb(file) for batch in found for file in batch.files]

    async def stat(self, path: str) -> FileStat:
        """One entry; symbolic links are not followed."""
        with convert.sending():
            request = pb.StatFileRequest(vm_id=self._vm_id, path=convert.raw(path))
        found = await self._workers.call(self._worker_id, lambda stub: stub.StatFile, request)
        return convert.stat_from_pb(found.file)

    def read(self, path: str, *, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Stream a file's bytes, or a range of them; goes on where it was after a lost connection."""

        def request_after(done: int) -> pb.ReadFileRequest:
            with convert.sending():
                return pb.ReadFileRequest(
                    vm_id=self._vm_id,
                    path=convert.raw(path),
                    offset=offset + done,
                    length=None if length is None else length - done,
                )

        return self._workers.pieces(self._worker_id, lambda stub: stub.ReadFile, request_after)

    async def write(
        self,
        path: str,
        data: AsyncIterable[bytes] | bytes,
        *,
        mode: int | None = None,
        user: str | None = None,
        offset: int | None = None,
    ) -> FileStat:
        """Write a file, replaced atomically, or in place from `offset` on."""
        with convert.sending():
            where = pb.WriteFileOpen(
                vm_id=self._vm_id, path=convert.raw(path), mode=mode, user=user, offset=offset
            )

        async def parts() -> AsyncIterator[pb.WriteFileRequest]:
            yield pb.WriteFileRequest(open=where)
            async for piece in in_pieces(data):
                yield pb.WriteFileRequest(data=piece)
            yield pb.WriteFileRequest(end=pb.UploadEnd())

        async with self._workers.reach_once(self._worker_id) as link:
            done = await upload(link, lambda stub: stub.WriteFile, parts())
        if done.HasField("error"):
            raise restore(done.error)
        return convert.stat_from_pb(done.file)

    async def mkdir(
        self, path: str, *, parents: bool = True, mode: int = 0o755, user: str | None = None
    ) -> None:
        """Make a directory; with `parents`, those above it, and it may exist already."""
        with convert.sending():
            request = pb.MkdirRequest(
                vm_id=self._vm_id, path=convert.raw(path), parents=parents, mode=mode, user=user
            )
        call = self._workers.call if parents else self._workers.call_once
        await call(self._worker_id, lambda stub: stub.Mkdir, request)

    async def move(self, source: str, target: str) -> None:
        """Rename, replacing `target`."""
        with convert.sending():
            request = pb.MoveRequest(
                vm_id=self._vm_id, source=convert.raw(source), target=convert.raw(target)
            )
        await self._workers.call_once(self._worker_id, lambda stub: stub.Move, request)

    async def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or an empty directory; with `recursive`, all below it."""
        with convert.sending():
            request = pb.RemoveRequest(vm_id=self._vm_id, path=convert.raw(path), recursive=recursive)
        await self._workers.call_once(self._worker_id, lambda stub: stub.Remove, request)

    async def chmod(self, path: str, mode: int) -> None:
        """Change permission bits."""
        with convert.sending():
            request = pb.ChmodRequest(vm_id=self._vm_id, path=convert.raw(path), mode=mode)
        await self._workers.call(self._worker_id, lambda stub: stub.Chmod, request)

    @asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[AsyncIterator[FileEvent]]:
        """Changes under `path`; entering waits until the watch is in place."""
        with convert.sending():
            request = pb.WatchFilesRequest(vm_id=self._vm_id, path=convert.raw(path))
        async with (
            self._workers.reach_once(self._worker_id) as link,
            aclosing(link.stream(lambda stub: stub.WatchFiles, request)) as responses,
        ):
            await anext(responses)  # it only says that the watch is in place
            yield _events(responses)

    async def archive_out(
        self, path: str, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> AsyncIterator[bytes]:
        """Stream a tar archive of a file or directory."""
        with convert.sending():
            request = pb.ArchiveOutRequest(
                vm_id=self._vm_id, path=convert.raw(path), include=include, exclude=exclude
            )
        async with (
            self._workers.reach_once(self._worker_id) as link,
            aclosing(link.stream(lambda stub: stub.ArchiveOut, request)) as responses,
        ):
            async for response in responses:
                yield response.data

    async def archive_in(self, path: str, data: AsyncIterable[bytes], *, user: str | None = None) -> None:
        """Unpack a tar stream below `path`."""
        with convert.sending():
            where = pb.ArchiveInOpen(vm_id=self._vm_id, path=convert.raw(path), user=user)

        async def parts() -> AsyncIterator[pb.ArchiveInRequest]:
            yield pb.ArchiveInRequest(open=where)
            async for piece in in_pieces(data):
                yield pb.ArchiveInRequest(data=piece)
            yield pb.ArchiveInRequest(end=pb.UploadEnd())

        async with self._workers.reach_once(self._worker_id) as link:
            done = await upload(link, lambda stub: stub.ArchiveIn, parts())
        if done.HasField("error"):
            raise restore(done.error)


async def _events(responses: AsyncGenerator[pb.WatchFilesResponse, None]) -> AsyncIterator[FileEvent]:
    async for response in responses:
        yield convert.event_from_pb(response.event)
