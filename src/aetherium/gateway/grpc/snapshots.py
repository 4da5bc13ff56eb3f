# ruff: noqa: N802  # the methods are named as in the .proto file
"""Snapshots."""

from __future__ import annotations

from aetherium.domain.snapshots import SnapshotState
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lists import listing_of
from aetherium.gateway.grpc.once import answered
from aetherium.gateway.grpc.values import enums_of, to_message, to_messages
from aetherium.gateway.listing import snapshot_facts
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
        states = {SnapshotState(state) for state in enums_of(request, "states")}
        found = [one for one in await platform.snapshots.list() if not states or one.state in states]
        page = listing_of(request).page(found, snapshot_facts, name=request.name, labels=dict(request.labels))
        return pb.SnapshotServiceListResponse(
            snapshots=to_messages(pb.Snapshot, page.items), next_cursor=page.cursor
        )

    async def Delete(
        self, request: pb.SnapshotServiceDeleteRequest, context: Context
    ) -> pb.SnapshotServiceDeleteResponse:
        platform = await self._platform_of(context)
        await platform.snapshots.delete(request.ref)
        return pb.SnapshotServiceDeleteResponse()
