# ruff: noqa: N802  # the methods are named as in the .proto file
"""Tasks."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from aetherium.domain.task_types import TaskTypeInfo
from aetherium.domain.tasks import Priority, Task, TaskSpec, TaskState
from aetherium.gateway.access import Platform
from aetherium.gateway.choosing import TaskChoice, chosen, listed
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lists import listing_of
from aetherium.gateway.grpc.values import enum_of, enums_of, from_message, to_message, to_messages
from aetherium.interfaces.handlers import TaskType
from aetherium.interfaces.task_store import TaskFilter
from aetherium.protocol.generated import tasks_pb2 as pb
from aetherium.protocol.generated.tasks_pb2_grpc import TaskServiceServicer


class TaskCalls(Service, TaskServiceServicer):
    """See tasks.proto."""

    async def Submit(
        self, request: pb.TaskServiceSubmitRequest, context: Context
    ) -> pb.TaskServiceSubmitResponse:
        platform = await self._platform_of(context)
        spec = from_message(request.spec, TaskSpec)
        task = await platform.tasks.submit(spec, idempotency_key=request.idempotency_key)
        return pb.TaskServiceSubmitResponse(task=_task(task))

    async def SubmitMany(
        self, request: pb.TaskServiceSubmitManyRequest, context: Context
    ) -> pb.TaskServiceSubmitManyResponse:
        platform = await self._platform_of(context)
        specs = [from_message(spec, TaskSpec) for spec in request.specs]
        key = request.idempotency_key
        keys = [f"{key}#{index}" for index in range(len(specs))] if key else ()
        made = await platform.tasks.submit_many(specs, idempotency_keys=keys)
        return pb.TaskServiceSubmitManyResponse(tasks=to_messages(pb.Task, made))

    async def Get(self, request: pb.TaskServiceGetRequest, context: Context) -> pb.TaskServiceGetResponse:
        platform = await self._platform_of(context)
        return pb.TaskServiceGetResponse(task=_task(await platform.tasks.get(request.ref)))

    async def Wait(self, request: pb.TaskServiceWaitRequest, context: Context) -> pb.TaskServiceWaitResponse:
        platform = await self._platform_of(context)
        timeout_s = request.timeout_s if request.HasField("timeout_s") else None
        return pb.TaskServiceWaitResponse(
            task=_task(await platform.tasks.wait(request.ref, timeout_s=timeout_s))
        )

    async def List(self, request: pb.TaskServiceListRequest, context: Context) -> pb.TaskServiceListResponse:
        platform = await self._platform_of(context)
        listing = listing_of(request, by_time=True)
        where = await _where(request, platform)
        listing.narrow(where, dict(request.labels))
        found = await platform.tasks.list(
            limit=listing.limit + 1, before=listing.before, oldest_first=listing.oldest_first, **where
        )
        page = listing.fetched(found)
        return pb.TaskServiceListResponse(tasks=to_messages(pb.Task, page.items), next_cursor=page.cursor)

    async def ListAttempts(
        self, request: pb.TaskServiceListAttemptsRequest, context: Context
    ) -> pb.TaskServiceListAttemptsResponse:
        platform = await self._platform_of(context)
        found = await platform.tasks.attempts(request.ref)
        return pb.TaskServiceListAttemptsResponse(attempts=to_messages(pb.Attempt, found))

    async def Cancel(
        self, request: pb.TaskServiceCancelRequest, context: Context
    ) -> pb.TaskServiceCancelResponse:
        platform = await self._platform_of(context)
        task = await platform.tasks.cancel(request.ref, reason=request.reason)
        return pb.TaskServiceCancelResponse(task=_task(task))

    async def Requeue(
        self, request: pb.TaskServiceRequeueRequest, context: Context
    ) -> pb.TaskServiceRequeueResponse:
        platform = await self._platform_of(context)
        return pb.TaskServiceRequeueResponse(task=_task(await platform.tasks.requeue(request.ref)))

    async def Discard(
        self, request: pb.TaskServiceDiscardRequest, context: Context
    ) -> pb.TaskServiceDiscardResponse:
        platform = await self._platform_of(context)
        return pb.TaskServiceDiscardResponse(task=_task(await platform.tasks.discard(request.ref)))

    async def CancelMany(
        self, request: pb.TaskServiceCancelManyRequest, context: Context
    ) -> pb.TaskServiceCancelManyResponse:
        platform = await self._platform_of(context)
        where = await _chosen(request.choice, platform)
        changed = await platform.tasks.cancel_many(reason=request.reason, **where)
        return pb.TaskServiceCancelManyResponse(changed=changed)

    async def RequeueMany(
        self, request: pb.TaskServiceRequeueManyRequest, context: Context
    ) -> pb.TaskServiceRequeueManyResponse:
        platform = await self._platform_of(context)
        changed = await platform.tasks.requeue_many(**await _chosen(request.choice, platform))
        return pb.TaskServiceRequeueManyResponse(changed=changed)

    async def DiscardMany(
        self, request: pb.TaskServiceDiscardManyRequest, context: Context
    ) -> pb.TaskServiceDiscardManyResponse:
        platform = await self._platform_of(context)
        changed = await platform.tasks.discard_many(**await _chosen(request.choice, platform))
        return pb.TaskServiceDiscardManyResponse(changed=changed)

    async def ListTypes(
        self, request: pb.TaskServiceListTypesRequest, context: Context
    ) -> pb.TaskServiceListTypesResponse:
        platform = await self._platform_of(context)
        kinds = [_info(kind) for kind in platform.tasks.types.all()]
        return pb.TaskServiceListTypesResponse(types=to_messages(pb.TaskTypeInfo, kinds))


def _task(task: Task) -> pb.Task:
    return to_message(pb.Task, task)


async def _where(request: pb.TaskServiceListRequest, platform: Platform) -> TaskFilter:
    priority = enum_of(request, "priority")
    return await listed(
        platform,
        states={TaskState(state) for state in enums_of(request, "states")},
        types=request.types,
        group=request.group,
        priority=Priority(priority) if priority else None,
        worker=request.worker,
        error_code=request.error_code,
        project=request.project,
    )


async def _chosen(message: pb.TaskChoice, platform: Platform) -> TaskFilter:
    return await chosen(from_message(message, TaskChoice), platform)


def _info(kind: TaskType) -> TaskTypeInfo:
    payload: Any = kind.payload
    schema = TypeAdapter(payload).json_schema()
    return TaskTypeInfo(kind.name, kind.summary, kind.public, kind.timeout_s, kind.retry, schema)
