# ruff: noqa: N802  # the methods are named as in the .proto file
"""Tasks."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from aetherium.domain.task_types import TaskTypeInfo
from aetherium.domain.tasks import Priority, Task, TaskSpec, TaskState
from aetherium.gateway.grpc.calls import Context, Service, limit_of, page
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
        limit = limit_of(request.limit)
        found = await platform.tasks.list(limit=limit + 1, before=request.cursor, **_where(request))
        shown, cursor = page(found, limit, request.cursor)
        return pb.TaskServiceListResponse(tasks=to_messages(pb.Task, shown), next_cursor=cursor)

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

    async def ListTypes(
        self, request: pb.TaskServiceListTypesRequest, context: Context
    ) -> pb.TaskServiceListTypesResponse:
        platform = await self._platform_of(context)
        kinds = [_info(kind) for kind in platform.tasks.types.all()]
        return pb.TaskServiceListTypesResponse(types=to_messages(pb.TaskTypeInfo, kinds))


def _task(task: Task) -> pb.Task:
    return to_message(pb.Task, task)


def _where(request: pb.TaskServiceListRequest) -> TaskFilter:
    where = TaskFilter()
    if request.states:
        where["states"] = {TaskState(state) for state in enums_of(request, "states")}
    if request.types:
        where["types"] = set(request.types)
    if request.group:
        where["group"] = request.group
    if priority := enum_of(request, "priority"):
        where["priority"] = Priority(priority)
    if request.error_code:
        where["error_code"] = request.error_code
    return where


def _info(kind: TaskType) -> TaskTypeInfo:
    payload: Any = kind.payload
    schema = TypeAdapter(payload).json_schema()
    return TaskTypeInfo(kind.name, kind.summary, kind.public, kind.timeout_s, kind.retry, schema)
