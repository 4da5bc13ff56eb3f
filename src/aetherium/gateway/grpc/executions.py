# ruff: noqa: N802  # the methods are named as in the .proto file
"""Executions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from aetherium.domain.executions import Execution, ExecutionState
from aetherium.gateway.grpc.attaching import Session, opened, source
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lists import listing_of
from aetherium.gateway.grpc.once import answered
from aetherium.gateway.grpc.values import enums_of
from aetherium.gateway.listing import execution_facts
from aetherium.protocol.generated import executions_pb2 as pb
from aetherium.protocol.generated.executions_pb2_grpc import ExecutionServiceServicer
from aetherium.rpc import convert


class ExecutionCalls(Service, ExecutionServiceServicer):
    """See executions.proto."""

    async def Run(
        self, request: pb.ExecutionServiceRunRequest, context: Context
    ) -> pb.ExecutionServiceRunResponse:
        platform = await self._platform_of(context)
        spec = convert.spec_from_pb(request.spec)
        once = self._once(platform, context, request)

        async def run() -> pb.ExecutionServiceRunResponse:
            execution, stdout, stderr = await platform.executions.run(
                request.vm, spec, stdin=request.stdin, execution_id=once.mark or None
            )
            return pb.ExecutionServiceRunResponse(execution=shown(execution), stdout=stdout, stderr=stderr)

        return await answered(once, pb.ExecutionServiceRunResponse, run)

    async def Start(
        self, request: pb.ExecutionServiceStartRequest, context: Context
    ) -> pb.ExecutionServiceStartResponse:
        platform = await self._platform_of(context)
        spec = convert.spec_from_pb(request.spec)
        once = self._once(platform, context, request)

        async def start() -> pb.ExecutionServiceStartResponse:
            execution = await platform.executions.start(request.vm, spec, execution_id=once.mark or None)
            return pb.ExecutionServiceStartResponse(execution=shown(execution))

        return await answered(once, pb.ExecutionServiceStartResponse, start)

    async def Attach(
        self, request_iterator: AsyncIterator[pb.ExecutionServiceAttachRequest], context: Context
    ) -> AsyncIterator[pb.ExecutionServiceAttachResponse]:
        platform = await self._platform_of(context)
        first = await opened(request_iterator)
        async with source(platform, first) as (execution, attachment):
            yield pb.ExecutionServiceAttachResponse(execution=shown(execution))
            session = Session(platform, execution.id, attachment)
            async with aclosing(session.responses(request_iterator)) as responses:
                async for response in responses:
                    yield response

    async def List(
        self, request: pb.ExecutionServiceListRequest, context: Context
    ) -> pb.ExecutionServiceListResponse:
        platform = await self._platform_of(context)
        states = {ExecutionState(state) for state in enums_of(request, "states")}
        found = [
            one for one in await platform.executions.list(request.vm) if not states or one.state in states
        ]
        page = listing_of(request, by_time=True).page(found, execution_facts)
        return pb.ExecutionServiceListResponse(
            executions=[shown(one) for one in page.items], next_cursor=page.cursor
        )

    async def Get(
        self, request: pb.ExecutionServiceGetRequest, context: Context
    ) -> pb.ExecutionServiceGetResponse:
        platform = await self._platform_of(context)
        execution = await platform.executions.get(request.execution_id)
        return pb.ExecutionServiceGetResponse(execution=shown(execution))

    async def Wait(
        self, request: pb.ExecutionServiceWaitRequest, context: Context
    ) -> pb.ExecutionServiceWaitResponse:
        platform = await self._platform_of(context)
        execution = await platform.executions.wait(request.execution_id)
        return pb.ExecutionServiceWaitResponse(execution=shown(execution))

    async def Signal(
        self, request: pb.ExecutionServiceSignalRequest, context: Context
    ) -> pb.ExecutionServiceSignalResponse:
        platform = await self._platform_of(context)
        await platform.executions.signal(request.execution_id, request.signal)
        return pb.ExecutionServiceSignalResponse()

    async def Kill(
        self, request: pb.ExecutionServiceKillRequest, context: Context
    ) -> pb.ExecutionServiceKillResponse:
        platform = await self._platform_of(context)
        await platform.executions.kill(request.execution_id)
        return pb.ExecutionServiceKillResponse()

    async def Resize(
        self, request: pb.ExecutionServiceResizeRequest, context: Context
    ) -> pb.ExecutionServiceResizeResponse:
        platform = await self._platform_of(context)
        await platform.executions.resize(request.execution_id, convert.size_from_pb(request.size))
        return pb.ExecutionServiceResizeResponse()


def shown(execution: Execution) -> pb.Execution:
    """An execution without secret values."""
    message = convert.execution_to_pb(execution)
    message.spec.ClearField("secret_env")
    return message
