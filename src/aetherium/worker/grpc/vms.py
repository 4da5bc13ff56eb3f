# ruff: noqa: N802  # the methods are named as in the .proto file
"""VMs and their snapshots."""

from __future__ import annotations

from typing import Any

from grpc.aio import ServicerContext

from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc import convert
from aetherium.worker.grpc.services import Services

Context = ServicerContext[Any, Any]


class VMCalls:
    """See worker.proto."""

    def __init__(self, services: Services) -> None:
        self._vms = services.vms
        self._snapshots = services.snapshots

    async def StopVM(self, request: pb.StopVMRequest, context: Context) -> pb.StopVMResponse:
        grace_s = request.grace_s if request.HasField("grace_s") else None
        await self._vms.stop(request.vm_id, grace_s=grace_s)
        return pb.StopVMResponse()

    async def PauseVM(self, request: pb.PauseVMRequest, context: Context) -> pb.PauseVMResponse:
        await self._vms.pause(request.vm_id)
        return pb.PauseVMResponse()

    async def ResumeVM(self, request: pb.ResumeVMRequest, context: Context) -> pb.ResumeVMResponse:
        await self._vms.resume(request.vm_id)
        return pb.ResumeVMResponse()

    async def ExtendVM(self, request: pb.ExtendVMRequest, context: Context) -> pb.ExtendVMResponse:
        ttl_s = request.ttl_s if request.HasField("ttl_s") else None
        await self._vms.extend(request.vm_id, ttl_s)
        return pb.ExtendVMResponse()

    async def ForkVM(self, request: pb.ForkVMRequest, context: Context) -> pb.ForkVMResponse:
        made = await self._vms.fork(
            request.vm_id, request.count, names=tuple(request.names), labels=dict(request.labels)
        )
        return pb.ForkVMResponse(vm_ids=[vm.id for vm in made])

    async def DeleteVM(self, request: pb.DeleteVMRequest, context: Context) -> pb.DeleteVMResponse:
        await self._vms.delete(request.vm_id)
        return pb.DeleteVMResponse()

    async def GetMetrics(self, request: pb.GetMetricsRequest, context: Context) -> pb.GetMetricsResponse:
        metrics = await self._vms.metrics(request.vm_id)
        return pb.GetMetricsResponse(metrics=convert.metrics_to_pb(metrics))

    async def GetConsole(self, request: pb.GetConsoleRequest, context: Context) -> pb.GetConsoleResponse:
        data = await self._vms.console(request.vm_id, max_bytes=request.max_bytes)
        return pb.GetConsoleResponse(data=data)

    async def DiagnoseVM(self, request: pb.DiagnoseVMRequest, context: Context) -> pb.DiagnoseVMResponse:
        checks = await self._vms.diagnose(request.vm_id)
        return pb.DiagnoseVMResponse(checks=[convert.check_to_pb(check) for check in checks])

    async def CreateSnapshot(
        self, request: pb.CreateSnapshotRequest, context: Context
    ) -> pb.CreateSnapshotResponse:
        name = request.name if request.HasField("name") else None
        snapshot = await self._snapshots.create(request.vm_id, name=name, labels=dict(request.labels))
        return pb.CreateSnapshotResponse(snapshot_id=snapshot.id)

    async def DeleteSnapshot(
        self, request: pb.DeleteSnapshotRequest, context: Context
    ) -> pb.DeleteSnapshotResponse:
        await self._snapshots.delete(request.snapshot_id)
        return pb.DeleteSnapshotResponse()
