# ruff: noqa: N802  # the methods are named as in the .proto file
"""Events."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.values import to_message
from aetherium.protocol.generated import events_pb2 as pb
from aetherium.protocol.generated.events_pb2_grpc import EventServiceServicer


class EventCalls(Service, EventServiceServicer):
    """See events.proto."""

    async def Watch(
        self, request: pb.EventServiceWatchRequest, context: Context
    ) -> AsyncIterator[pb.EventServiceWatchResponse]:
        log, types = (await self._platform_of(context)).events, set(request.types)
        begin = request.after
        if request.HasField("latest"):
            begin = await log.before_newest(request.latest, types=types)
        reading = log.read if request.ends else log.follow
        async with reading(after=begin, types=types) as events:
            await context.send_initial_metadata(())  # the client sees that it is heard
            async for event in events:
                yield pb.EventServiceWatchResponse(event=to_message(pb.Event, event))
