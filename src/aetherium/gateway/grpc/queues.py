# ruff: noqa: N802  # the methods are named as in the .proto file
"""Queues."""

from __future__ import annotations

from google.protobuf.message import Message

from aetherium.domain.errors import InvalidInput
from aetherium.domain.tasks import Priority, TypeLimit
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.values import enum_of, from_message, to_message, to_messages
from aetherium.protocol.generated import queues_pb2 as pb
from aetherium.protocol.generated.queues_pb2_grpc import QueueServiceServicer


class QueueCalls(Service, QueueServiceServicer):
    """See queues.proto."""

    async def List(
        self, request: pb.QueueServiceListRequest, context: Context
    ) -> pb.QueueServiceListResponse:
        platform = await self._platform_of(context)
        return pb.QueueServiceListResponse(queues=to_messages(pb.Queue, await platform.queues.list()))

    async def Pause(
        self, request: pb.QueueServicePauseRequest, context: Context
    ) -> pb.QueueServicePauseResponse:
        platform = await self._platform_of(context)
        queue = await platform.queues.pause(_priority(request))
        return pb.QueueServicePauseResponse(queue=to_message(pb.Queue, queue))

    async def Resume(
        self, request: pb.QueueServiceResumeRequest, context: Context
    ) -> pb.QueueServiceResumeResponse:
        platform = await self._platform_of(context)
        queue = await platform.queues.resume(_priority(request))
        return pb.QueueServiceResumeResponse(queue=to_message(pb.Queue, queue))

    async def ListLimits(
        self, request: pb.QueueServiceListLimitsRequest, context: Context
    ) -> pb.QueueServiceListLimitsResponse:
        platform = await self._platform_of(context)
        limits = await platform.queues.limits()
        return pb.QueueServiceListLimitsResponse(
            limits={name: to_message(pb.TypeLimit, limit) for name, limit in limits.items()}
        )

    async def SetLimit(
        self, request: pb.QueueServiceSetLimitRequest, context: Context
    ) -> pb.QueueServiceSetLimitResponse:
        platform = await self._platform_of(context)
        await platform.queues.limit(request.task_type, from_message(request.limit, TypeLimit))
        return pb.QueueServiceSetLimitResponse()

    async def ClearLimit(
        self, request: pb.QueueServiceClearLimitRequest, context: Context
    ) -> pb.QueueServiceClearLimitResponse:
        platform = await self._platform_of(context)
        await platform.queues.unlimit(request.task_type)
        return pb.QueueServiceClearLimitResponse()


def _priority(request: Message) -> Priority:
    word = enum_of(request, "priority")
    if word is None:
        raise InvalidInput("The request names no queue.", hint="Give a priority.", field="priority")
    return Priority(word)
