# ruff: noqa: N802  # the methods are named as in the .proto file
"""Workers, as administrators of the installation see them."""

from __future__ import annotations

from aetherium.domain.workers import WorkerState, WorkerStatus
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lists import listing_of
from aetherium.gateway.grpc.values import enums_of, to_message, to_messages
from aetherium.gateway.listing import Sort, worker_facts
from aetherium.protocol.generated import workers_pb2 as pb
from aetherium.protocol.generated.workers_pb2_grpc import WorkersServiceServicer


class WorkerCalls(Service, WorkersServiceServicer):
    """See workers.proto."""

    async def List(
        self, request: pb.WorkersServiceListRequest, context: Context
    ) -> pb.WorkersServiceListResponse:
        platform = await self._platform_of(context)
        states = {WorkerState(state) for state in enums_of(request, "states")}
        found = [one for one in await platform.workers.list() if not states or one.worker.state in states]
        page = listing_of(request).page(
            found, worker_facts, name=request.name, labels=dict(request.labels), default=Sort.NAME
        )
        return pb.WorkersServiceListResponse(
            workers=to_messages(pb.WorkerStatus, page.items), next_cursor=page.cursor
        )

    async def Get(
        self, request: pb.WorkersServiceGetRequest, context: Context
    ) -> pb.WorkersServiceGetResponse:
        platform = await self._platform_of(context)
        return pb.WorkersServiceGetResponse(worker=_status(await platform.workers.get(request.ref)))

    async def Drain(
        self, request: pb.WorkersServiceDrainRequest, context: Context
    ) -> pb.WorkersServiceDrainResponse:
        platform = await self._platform_of(context)
        return pb.WorkersServiceDrainResponse(worker=_status(await platform.workers.drain(request.ref)))

    async def Activate(
        self, request: pb.WorkersServiceActivateRequest, context: Context
    ) -> pb.WorkersServiceActivateResponse:
        platform = await self._platform_of(context)
        return pb.WorkersServiceActivateResponse(worker=_status(await platform.workers.activate(request.ref)))

    async def Remove(
        self, request: pb.WorkersServiceRemoveRequest, context: Context
    ) -> pb.WorkersServiceRemoveResponse:
        platform = await self._platform_of(context)
        await platform.workers.remove(request.ref)
        return pb.WorkersServiceRemoveResponse()


def _status(status: WorkerStatus) -> pb.WorkerStatus:
    return to_message(pb.WorkerStatus, status)
