# ruff: noqa: N802  # the methods are named as in the .proto file
"""Schedules."""

from __future__ import annotations

from aetherium.domain.schedules import Schedule, ScheduleSpec
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lists import listing_of
from aetherium.gateway.grpc.once import answered
from aetherium.gateway.grpc.values import from_message, to_message, to_messages
from aetherium.gateway.listing import Sort, named_facts
from aetherium.protocol.generated import schedules_pb2 as pb
from aetherium.protocol.generated import tasks_pb2
from aetherium.protocol.generated.schedules_pb2_grpc import ScheduleServiceServicer


class ScheduleCalls(Service, ScheduleServiceServicer):
    """See schedules.proto."""

    async def Create(
        self, request: pb.ScheduleServiceCreateRequest, context: Context
    ) -> pb.ScheduleServiceCreateResponse:
        platform = await self._platform_of(context)
        spec = from_message(request.spec, ScheduleSpec)
        once = self._once(platform, context, request)

        async def create() -> pb.ScheduleServiceCreateResponse:
            made = await platform.schedules.create(request.name, spec, mark=once.mark)
            return pb.ScheduleServiceCreateResponse(schedule=_schedule(made))

        return await answered(once, pb.ScheduleServiceCreateResponse, create)

    async def Get(
        self, request: pb.ScheduleServiceGetRequest, context: Context
    ) -> pb.ScheduleServiceGetResponse:
        platform = await self._platform_of(context)
        return pb.ScheduleServiceGetResponse(schedule=_schedule(await platform.schedules.get(request.ref)))

    async def List(
        self, request: pb.ScheduleServiceListRequest, context: Context
    ) -> pb.ScheduleServiceListResponse:
        platform = await self._platform_of(context)
        paused = request.paused if request.HasField("paused") else None
        found = [one for one in await platform.schedules.list() if paused in (None, one.paused)]
        page = listing_of(request).page(found, named_facts, name=request.name, default=Sort.NAME)
        return pb.ScheduleServiceListResponse(
            schedules=to_messages(pb.Schedule, page.items), next_cursor=page.cursor
        )

    async def Pause(
        self, request: pb.ScheduleServicePauseRequest, context: Context
    ) -> pb.ScheduleServicePauseResponse:
        platform = await self._platform_of(context)
        return pb.ScheduleServicePauseResponse(
            schedule=_schedule(await platform.schedules.pause(request.ref))
        )

    async def Resume(
        self, request: pb.ScheduleServiceResumeRequest, context: Context
    ) -> pb.ScheduleServiceResumeResponse:
        platform = await self._platform_of(context)
        return pb.ScheduleServiceResumeResponse(
            schedule=_schedule(await platform.schedules.resume(request.ref))
        )

    async def RunNow(
        self, request: pb.ScheduleServiceRunNowRequest, context: Context
    ) -> pb.ScheduleServiceRunNowResponse:
        platform = await self._platform_of(context)
        once = self._once(platform, context, request)

        async def run() -> pb.ScheduleServiceRunNowResponse:
            task = await platform.schedules.run_now(request.ref, mark=once.mark)
            return pb.ScheduleServiceRunNowResponse(task=to_message(tasks_pb2.Task, task))

        return await answered(once, pb.ScheduleServiceRunNowResponse, run)

    async def Delete(
        self, request: pb.ScheduleServiceDeleteRequest, context: Context
    ) -> pb.ScheduleServiceDeleteResponse:
        platform = await self._platform_of(context)
        await platform.schedules.delete(request.ref)
        return pb.ScheduleServiceDeleteResponse()


def _schedule(schedule: Schedule) -> pb.Schedule:
    return to_message(pb.Schedule, schedule)
