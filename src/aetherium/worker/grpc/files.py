# ruff: noqa: N802  # the methods are named as in the .proto file
"""Files of VMs.

Bodies are streamed both ways, and gRPC's flow control holds the sender up: a message is asked for, or sent,
only when the one before was taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

from grpc.aio import ServicerContext

from aetherium.domain.errors import ChannelClosed, InvalidInput
from aetherium.domain.guest import FileStat
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc import convert
from aetherium.rpc.errors import as_ours, describe
from aetherium.worker.grpc.services import Services

Context = ServicerContext[Any, Any]
Upload = TypeVar("Upload", pb.WriteFileRequest, pb.ArchiveInRequest)

# Entries of a directory in one message: names are up to 255 bytes, messages a few hundred KiB.
_BATCH = 500


class FileCalls:
    """See worker.proto."""

    def __init__(self, services: Services) -> None:
        self._vms = services.vms

    async def ListFiles(
        self, request: pb.ListFilesRequest, context: Context
    ) -> AsyncIterator[pb.ListFilesResponse]:
        async with self._vms.guest(request.vm_id) as guest:
            files = [convert.stat_to_pb(stat) for stat in await guest.list(convert.text(request.path))]
        for at in range(0, len(files), _BATCH):
            yield pb.ListFilesResponse(files=files[at : at + _BATCH])

    async def StatFile(self, request: pb.StatFileRequest, context: Context) -> pb.StatFileResponse:
        async with self._vms.guest(request.vm_id) as guest:
            return pb.StatFileResponse(file=convert.stat_to_pb(await guest.stat(convert.text(request.path))))

    async def ReadFile(
        self, request: pb.ReadFileRequest, context: Context
    ) -> AsyncIterator[pb.ReadFileResponse]:
        length = request.length if request.HasField("length") else None
        async with self._vms.guest(request.vm_id) as guest:
            pieces = guest.read(convert.text(request.path), offset=request.offset, length=length)
            async for piece in pieces:
                yield pb.ReadFileResponse(data=piece)

    async def WriteFile(
        self, request_iterator: AsyncIterator[pb.WriteFileRequest], context: Context
    ) -> AsyncIterator[pb.WriteFileResponse]:
        try:
            done = await self._write(await _first(request_iterator), request_iterator)
        except Exception as error:  # the boundary of a call: told to the caller, or to the log
            yield pb.WriteFileResponse(error=describe(as_ours(error)))
        else:
            yield pb.WriteFileResponse(file=convert.stat_to_pb(done))

    async def Mkdir(self, request: pb.MkdirRequest, context: Context) -> pb.MkdirResponse:
        user = request.user if request.HasField("user") else None
        async with self._vms.guest(request.vm_id) as guest:
            await guest.mkdir(
                convert.text(request.path), parents=request.parents, mode=request.mode, user=user
            )
        return pb.MkdirResponse()

    async def Move(self, request: pb.MoveRequest, context: Context) -> pb.MoveResponse:
        async with self._vms.guest(request.vm_id) as guest:
            await guest.move(convert.text(request.source), convert.text(request.target))
        return pb.MoveResponse()

    async def Remove(self, request: pb.RemoveRequest, context: Context) -> pb.RemoveResponse:
        async with self._vms.guest(request.vm_id) as guest:
            await guest.remove(convert.text(request.path), recursive=request.recursive)
        return pb.RemoveResponse()

    async def Chmod(self, request: pb.ChmodRequest, context: Context) -> pb.ChmodResponse:
        async with self._vms.guest(request.vm_id) as guest:
            await guest.chmod(convert.text(request.path), request.mode)
        return pb.ChmodResponse()

    async def WatchFiles(
        self, request: pb.WatchFilesRequest, context: Context
    ) -> AsyncIterator[pb.WatchFilesResponse]:
        path = convert.text(request.path)
        async with self._vms.guest(request.vm_id) as guest, guest.watch(path) as events:
            yield pb.WatchFilesResponse()
            async for event in events:
                yield pb.WatchFilesResponse(event=convert.event_to_pb(event))

    async def ArchiveIn(
        self, request_iterator: AsyncIterator[pb.ArchiveInRequest], context: Context
    ) -> AsyncIterator[pb.ArchiveInResponse]:
        try:
            await self._unpack(await _first(request_iterator), request_iterator)
        except Exception as error:  # as above
            yield pb.ArchiveInResponse(error=describe(as_ours(error)))
        else:
            yield pb.ArchiveInResponse()

    async def ArchiveOut(
        self, request: pb.ArchiveOutRequest, context: Context
    ) -> AsyncIterator[pb.ArchiveOutResponse]:
        async with self._vms.guest(request.vm_id) as guest:
            pieces = guest.archive_out(
                convert.text(request.path), include=tuple(request.include), exclude=tuple(request.exclude)
            )
            async for piece in pieces:
                yield pb.ArchiveOutResponse(data=piece)

    async def _write(
        self, first: pb.WriteFileRequest, others: AsyncIterator[pb.WriteFileRequest]
    ) -> FileStat:
        where = first.open
        async with self._vms.guest(where.vm_id) as guest:
            return await guest.write(
                convert.text(where.path),
                _data(others),
                mode=where.mode if where.HasField("mode") else None,
                user=where.user if where.HasField("user") else None,
                offset=where.offset if where.HasField("offset") else None,
            )

    async def _unpack(self, first: pb.ArchiveInRequest, others: AsyncIterator[pb.ArchiveInRequest]) -> None:
        where = first.open
        user = where.user if where.HasField("user") else None
        async with self._vms.guest(where.vm_id) as guest:
            await guest.archive_in(convert.text(where.path), _data(others), user=user)


async def _first(parts: AsyncIterator[Upload]) -> Upload:
    """The part that says where to. Raises InvalidInput."""
    async for part in parts:
        if part.HasField("open"):
            return part
        break
    raise InvalidInput("An upload begins with where it goes.")


async def _data(parts: AsyncIterator[Upload]) -> AsyncIterator[bytes]:
    """The bytes of an upload. One that breaks off must not be taken for whole, so its end is said.

    Raises ChannelClosed where it is missing."""
    async for part in parts:
        if part.HasField("end"):
            return
        yield part.data
    raise ChannelClosed("The upload broke off before its end.")
