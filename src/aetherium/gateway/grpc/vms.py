# ruff: noqa: N802  # the methods are named as in the .proto file
"""VMs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from aetherium.domain.vms import VM, VMSpec, VMState
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lists import listing_of
from aetherium.gateway.grpc.once import answered
from aetherium.gateway.grpc.values import enums_of, from_message, to_message, to_messages
from aetherium.gateway.listing import vm_facts
from aetherium.gateway.progress import Report, steps
from aetherium.protocol.generated import vms_pb2 as pb
from aetherium.protocol.generated.vms_pb2_grpc import VMServiceServicer
from aetherium.rpc import convert

_CONSOLE = 65536


class VMCalls(Service, VMServiceServicer):
    """See vms.proto."""

    async def Create(
        self, request: pb.VMServiceCreateRequest, context: Context
    ) -> pb.VMServiceCreateResponse:
        platform = await self._platform_of(context)
        spec = from_message(request.spec, VMSpec)
        snapshot = request.snapshot if request.HasField("snapshot") else None
        once = self._once(platform, context, request)

        async def create() -> pb.VMServiceCreateResponse:
            made = await platform.vms.create(spec, snapshot=snapshot, mark=once.mark)
            return pb.VMServiceCreateResponse(vm=_vm(made))

        return await answered(once, pb.VMServiceCreateResponse, create)

    async def CreateStream(
        self, request: pb.VMServiceCreateStreamRequest, context: Context
    ) -> AsyncIterator[pb.VMServiceCreateStreamResponse]:
        platform = await self._platform_of(context)
        spec = from_message(request.spec, VMSpec)
        snapshot = request.snapshot if request.HasField("snapshot") else None
        once = self._once(platform, context, request)

        async def work(report: Report) -> pb.VM:
            async def create() -> pb.VM:
                return _vm(
                    await platform.vms.create(spec, snapshot=snapshot, progress=report, mark=once.mark)
                )

            return await answered(once, pb.VM, create)

        async with aclosing(steps(work)) as found:
            async for step in found:
                told = {"vm": step.value} if step.last else {"progress": step.value}
                yield pb.VMServiceCreateStreamResponse(**told)

    async def Get(self, request: pb.VMServiceGetRequest, context: Context) -> pb.VMServiceGetResponse:
        platform = await self._platform_of(context)
        return pb.VMServiceGetResponse(vm=_vm(await platform.vms.get(request.ref)))

    async def List(self, request: pb.VMServiceListRequest, context: Context) -> pb.VMServiceListResponse:
        platform = await self._platform_of(context)
        states = [VMState(state) for state in enums_of(request, "states")]
        found = await platform.vms.list(states=states, labels=dict(request.labels))
        page = listing_of(request).page(found, vm_facts, name=request.name)
        return pb.VMServiceListResponse(vms=to_messages(pb.VM, page.items), next_cursor=page.cursor)

    async def Delete(
        self, request: pb.VMServiceDeleteRequest, context: Context
    ) -> pb.VMServiceDeleteResponse:
        platform = await self._platform_of(context)
        await platform.vms.delete(request.ref)
        return pb.VMServiceDeleteResponse()

    async def Stop(self, request: pb.VMServiceStopRequest, context: Context) -> pb.VMServiceStopResponse:
        platform = await self._platform_of(context)
        grace_s = request.grace_s if request.HasField("grace_s") else None
        return pb.VMServiceStopResponse(vm=_vm(await platform.vms.stop(request.ref, grace_s=grace_s)))

    async def Pause(self, request: pb.VMServicePauseRequest, context: Context) -> pb.VMServicePauseResponse:
        platform = await self._platform_of(context)
        return pb.VMServicePauseResponse(vm=_vm(await platform.vms.pause(request.ref)))

    async def Resume(
        self, request: pb.VMServiceResumeRequest, context: Context
    ) -> pb.VMServiceResumeResponse:
        platform = await self._platform_of(context)
        return pb.VMServiceResumeResponse(vm=_vm(await platform.vms.resume(request.ref)))

    async def Extend(
        self, request: pb.VMServiceExtendRequest, context: Context
    ) -> pb.VMServiceExtendResponse:
        platform = await self._platform_of(context)
        ttl_s = request.ttl_s if request.HasField("ttl_s") else None
        return pb.VMServiceExtendResponse(vm=_vm(await platform.vms.extend(request.ref, ttl_s)))

    async def Fork(self, request: pb.VMServiceForkRequest, context: Context) -> pb.VMServiceForkResponse:
        platform = await self._platform_of(context)
        count = request.count if request.HasField("count") else 1
        names = tuple(request.names)
        once = self._once(platform, context, request)

        async def fork() -> pb.VMServiceForkResponse:
            made = await platform.vms.fork(request.ref, count, names=names, mark=once.mark)
            return pb.VMServiceForkResponse(vms=to_messages(pb.VM, made))

        return await answered(once, pb.VMServiceForkResponse, fork)

    async def GetMetrics(
        self, request: pb.VMServiceGetMetricsRequest, context: Context
    ) -> pb.VMServiceGetMetricsResponse:
        platform = await self._platform_of(context)
        metrics = await platform.vms.metrics(request.ref)
        return pb.VMServiceGetMetricsResponse(metrics=convert.metrics_to_pb(metrics))

    async def GetConsole(
        self, request: pb.VMServiceGetConsoleRequest, context: Context
    ) -> pb.VMServiceGetConsoleResponse:
        platform = await self._platform_of(context)
        most = request.max_bytes if request.HasField("max_bytes") else _CONSOLE
        return pb.VMServiceGetConsoleResponse(data=await platform.vms.console(request.ref, max_bytes=most))

    async def Diagnose(
        self, request: pb.VMServiceDiagnoseRequest, context: Context
    ) -> pb.VMServiceDiagnoseResponse:
        platform = await self._platform_of(context)
        checks = await platform.vms.diagnose(request.ref)
        return pb.VMServiceDiagnoseResponse(checks=[convert.check_to_pb(check) for check in checks])


def _vm(vm: VM) -> pb.VM:
    return to_message(pb.VM, vm)
