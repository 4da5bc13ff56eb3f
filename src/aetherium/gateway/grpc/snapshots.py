# ruff: noqa: N802  # the methods are named as in the .proto file
"""Snapshots."""

from __future__ import annotations

from aetherium.gateway.grpc.calls import Context, Service, limit_of, page
from aetherium.gateway.grpc.once import answered
from aetherium.gateway.grpc.values import to_message, to_messages
from aetherium.protocol.generated import snapshots_pb2 as pb
from aetherium.protocol.generated.snapshots_pb2_grpc import SnapshotServiceServicer


class SnapshotCalls(Service, SnapshotServiceServicer):
    """See snapshots.proto."""

    async def Create(
        self, request: pb.SnapshotServiceCreateRequest, context: Context
    ) -> pb.SnapshotServiceCreateResponse:
        platform = await self._platform_of(context)
        name = request.name if request.HasField("name") else None
        once = self._once(platform, context, request)

        async def create() -> pb.SnapshotServiceCreateResponse:
            made = await platform.snapshots.create(request.vm, name=name, mark=once.mark)
            return pb.SnapshotServiceCreateResponse(snapshot=to_message(pb.Snapshot, made))

        return await answered(once, pb.SnapshotServiceCreateResponse, create)

    async def Get(
        self, request: pb.SnapshotServiceGetRequest, context: Context
    ) -> pb.SnapshotServiceGetResponse:
        platform = await self._platform_of(context)
        found = await platform.snapshots.get(request.ref)
        return pb.SnapshotServiceGetResponse(snapshot=to_message(pb.Snapshot, found))

    async def List(
        self, request: pb.SnapshotServiceListRequest, context: Context
    ) -> pb.SnapshotServiceListResponse:
        platform = await self._platform_of(context)
        shown, cursor = page(await platform.snapshots.list(), limit_of(request.limit), request.cursor)
        return pb.SnapshotServiceListResponse(snapshots=to_messages(pb.Snapshot, shown), next_cursor=cursor)

    async def Delete(
        self, request: pb.SnapshotServiceDeleteRequest, context: Context
    ) -> pb.SnapshotServiceDeleteResponse:
        platform = await self._platform_of(context)
        await platform.snapshots.delete(request.ref)
        return pb.SnapshotServiceDeleteResponse()
