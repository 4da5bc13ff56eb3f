# ruff: noqa: N802  # the methods are named as in the .proto file
"""Files of VMs.

Bodies are streamed both ways, and gRPC's flow control holds the sender up: a message is asked for, or sent,
only when the one before was taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

from aetherium.domain.errors import InvalidInput
from aetherium.gateway.digests import Checked
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lingering import lingering
from aetherium.gateway.grpc.pieces import pieces
from aetherium.protocol.generated import files_pb2 as pb
from aetherium.protocol.generated.files_pb2_grpc import FileServiceServicer
from aetherium.rpc import convert

Upload = TypeVar("Upload", pb.FileServiceWriteRequest, pb.FileServiceArchiveInRequest)

# Entries of a directory in one message: clients take 4 MiB at most, if they are not told otherwise.
_BATCH = 500


class FileCalls(Service, FileServiceServicer):
    """See files.proto."""

    async def Read(
        self, request: pb.FileServiceReadRequest, context: Context
    ) -> AsyncIterator[pb.FileServiceReadResponse]:
        platform = await self._platform_of(context)
        length = request.length if request.HasField("length") else None
        async with platform.vms.guest(request.vm) as guest:
            async for piece in guest.read(convert.text(request.path), offset=request.offset, length=length):
                yield pb.FileServiceReadResponse(data=piece)

    async def Write(
        self, request_iterator: AsyncIterator[pb.FileServiceWriteRequest], context: Context
    ) -> pb.FileServiceWriteResponse:
        async with lingering(request_iterator):
            platform = await self._platform_of(context)
            where = (await _first(request_iterator)).open
            async with platform.vms.guest(where.vm) as guest:
                done = await guest.write(
                    convert.text(where.path),
                    pieces(request_iterator),
                    mode=where.mode if where.HasField("mode") else None,
                    user=where.user if where.HasField("user") else None,
                    offset=where.offset if where.HasField("offset") else None,
                )
        return pb.FileServiceWriteResponse(file=convert.stat_to_pb(done))

    async def List(
        self, request: pb.FileServiceListRequest, context: Context
    ) -> AsyncIterator[pb.FileServiceListResponse]:
        platform = await self._platform_of(context)
        async with platform.vms.guest(request.vm) as guest:
            found = [convert.stat_to_pb(stat) for stat in await guest.list(convert.text(request.path))]
        for at in range(0, len(found), _BATCH):
            yield pb.FileServiceListResponse(files=found[at : at + _BATCH])

    async def Stat(self, request: pb.FileServiceStatRequest, context: Context) -> pb.FileServiceStatResponse:
        platform = await self._platform_of(context)
        async with platform.vms.guest(request.vm) as guest:
            found = await guest.stat(convert.text(request.path))
        return pb.FileServiceStatResponse(file=convert.stat_to_pb(found))

    async def Checksum(
        self, request: pb.FileServiceChecksumRequest, context: Context
    ) -> pb.FileServiceChecksumResponse:
        platform = await self._platform_of(context)
        async with platform.vms.guest(request.vm) as guest:
            data = Checked(guest.read(convert.text(request.path)), {})
            size = sum([len(piece) async for piece in data])
        return pb.FileServiceChecksumResponse(size=size, sha256=data.sha256)

    async def Move(self, request: pb.FileServiceMoveRequest, context: Context) -> pb.FileServiceMoveResponse:
        platform = await self._platform_of(context)
        async with platform.vms.guest(request.vm) as guest:
            await guest.move(convert.text(request.source), convert.text(request.target))
        return pb.FileServiceMoveResponse()

    async def Remove(
        self, request: pb.FileServiceRemoveRequest, context: Context
    ) -> pb.FileServiceRemoveResponse:
        platform = await self._platform_of(context)
        async with platform.vms.guest(request.vm) as guest:
            await guest.remove(convert.text(request.path), recursive=request.recursive)
        return pb.FileServiceRemoveResponse()

    async def Mkdir(
        self, request: pb.FileServiceMkdirRequest, context: Context
    ) -> pb.FileServiceMkdirResponse:
        platform = await self._platform_of(context)
        async with platform.vms.guest(request.vm) as guest:
            await guest.mkdir(
                convert.text(request.path),
                parents=request.parents if request.HasField("parents") else True,
                mode=request.mode if request.HasField("mode") else 0o755,
                user=request.user if request.HasField("user") else None,
            )
        return pb.FileServiceMkdirResponse()

    async def Chmod(
        self, request: pb.FileServiceChmodRequest, context: Context
    ) -> pb.FileServiceChmodResponse:
        platform = await self._platform_of(context)
        async with platform.vms.guest(request.vm) as guest:
            await guest.chmod(convert.text(request.path), request.mode)
        return pb.FileServiceChmodResponse()

    async def Watch(
        self, request: pb.FileServiceWatchRequest, context: Context
    ) -> AsyncIterator[pb.FileServiceWatchResponse]:
        platform = await self._platform_of(context)
        path = convert.text(request.path)
        async with platform.vms.guest(request.vm) as guest, guest.watch(path) as events:
            yield pb.FileServiceWatchResponse()
            async for event in events:
                yield pb.FileServiceWatchResponse(event=convert.event_to_pb(event))

    async def ArchiveOut(
        self, request: pb.FileServiceArchiveOutRequest, context: Context
    ) -> AsyncIterator[pb.FileServiceArchiveOutResponse]:
        platform = await self._platform_of(context)
        async with platform.vms.guest(request.vm) as guest:
            archive = guest.archive_out(
                convert.text(request.path), include=tuple(request.include), exclude=tuple(request.exclude)
            )
            async for piece in archive:
                yield pb.FileServiceArchiveOutResponse(data=piece)

    async def ArchiveIn(
        self, request_iterator: AsyncIterator[pb.FileServiceArchiveInRequest], context: Context
    ) -> pb.FileServiceArchiveInResponse:
        async with lingering(request_iterator):
            platform = await self._platform_of(context)
            where = (await _first(request_iterator)).open
            user = where.user if where.HasField("user") else None
            async with platform.vms.guest(where.vm) as guest:
                await guest.archive_in(convert.text(where.path), pieces(request_iterator), user=user)
        return pb.FileServiceArchiveInResponse()


async def _first(parts: AsyncIterator[Upload]) -> Upload:
    """The part that says where to. Raises InvalidInput."""
    async for part in parts:
        if part.HasField("open"):
            return part
        break
    raise InvalidInput("An upload begins with where it goes.", field="open")
