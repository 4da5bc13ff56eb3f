"""Calls that come again: answered as the first one was, and carried out once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Channel

from aetherium.domain.identity import Role
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.vms import VM
from aetherium.protocol.generated import (
    executions_pb2,
    images_pb2,
    projects_pb2,
    schedules_pb2,
    snapshots_pb2,
    tasks_pb2,
    vms_pb2,
)
from aetherium.protocol.generated.executions_pb2_grpc import ExecutionServiceStub
from aetherium.protocol.generated.images_pb2_grpc import ImageServiceStub
from aetherium.protocol.generated.projects_pb2_grpc import ProjectServiceStub
from aetherium.protocol.generated.schedules_pb2_grpc import ScheduleServiceStub
from aetherium.protocol.generated.snapshots_pb2_grpc import SnapshotServiceStub
from aetherium.protocol.generated.vms_pb2_grpc import VMServiceStub
from aetherium.services.images import ImageService
from aetherium.services.vms import VMService
from tests.integration.gateway.grpc.conftest import Served, bearer, sh, told

if TYPE_CHECKING:
    from aetherium.protocol.generated.executions_pb2_grpc import ExecutionServiceAsyncStub
    from aetherium.protocol.generated.images_pb2_grpc import ImageServiceAsyncStub
    from aetherium.protocol.generated.projects_pb2_grpc import ProjectServiceAsyncStub
    from aetherium.protocol.generated.schedules_pb2_grpc import ScheduleServiceAsyncStub
    from aetherium.protocol.generated.snapshots_pb2_grpc import SnapshotServiceAsyncStub
    from aetherium.protocol.generated.vms_pb2_grpc import VMServiceAsyncStub

KEY = (("idempotency-key", "k1"),)
_DEADLINE_S = 30


@pytest.fixture
async def vms(served: Served, channel: Channel) -> AsyncIterator[VMServiceAsyncStub]:
    yield VMServiceStub(channel)
    for vm in await served.platform.vms.list():
        await served.platform.vms.delete(vm.id)


async def test_what_makes_something_makes_it_once(
    served: Served, channel: Channel, vms: VMServiceAsyncStub, vm: VM
) -> None:
    executions: ExecutionServiceAsyncStub = ExecutionServiceStub(channel)
    projects: ProjectServiceAsyncStub = ProjectServiceStub(channel)
    schedules: ScheduleServiceAsyncStub = ScheduleServiceStub(channel)
    snapshots: SnapshotServiceAsyncStub = SnapshotServiceStub(channel)
    spec = schedules_pb2.ScheduleSpec(task=tasks_pb2.TaskSpec(type="system.noop"), every_s=3600.0)
    calls: list[tuple[Any, Any]] = [
        (vms.Create, vms_pb2.VMServiceCreateRequest()),
        (vms.Fork, vms_pb2.VMServiceForkRequest(ref="box")),
        (snapshots.Create, snapshots_pb2.SnapshotServiceCreateRequest(vm="box")),
        (schedules.Create, schedules_pb2.ScheduleServiceCreateRequest(name="s", spec=spec)),
        (schedules.RunNow, schedules_pb2.ScheduleServiceRunNowRequest(ref="s")),
        (projects.Create, projects_pb2.ProjectServiceCreateRequest(name="lab")),
        (executions.Start, executions_pb2.ExecutionServiceStartRequest(vm="box", spec=sh("true"))),
        (executions.Run, executions_pb2.ExecutionServiceRunRequest(vm="box", spec=sh("printf '\\377'"))),
    ]
    async with asyncio.timeout(_DEADLINE_S):
        for call, request in calls:
            first = await call(request, metadata=KEY)
            assert await call(request, metadata=KEY) == first
    assert len(await served.platform.vms.list()) == 3
    assert len(await served.platform.snapshots.list()) == 1
    assert len(await served.platform.executions.list(vm.id)) == 2
    # Without a key, and with another one, it is another request.
    for metadata in ((), (("idempotency-key", "k2"),)):
        await vms.Create(vms_pb2.VMServiceCreateRequest(), metadata=metadata)
    assert len(await served.platform.vms.list()) == 5


async def test_another_request_with_the_key_is_refused(served: Served, vms: VMServiceAsyncStub) -> None:
    await vms.Create(vms_pb2.VMServiceCreateRequest(), metadata=KEY)
    request = vms_pb2.VMServiceCreateRequest(spec=vms_pb2.VMSpec(ttl_s=60.0))
    other = await bearer(served.platform, project_id=DEFAULT_PROJECT, role=Role.OPERATOR)
    for again, metadata in ((request, KEY), (vms_pb2.VMServiceCreateRequest(), (*KEY, *other))):
        with pytest.raises(AioRpcError) as caught:
            await vms.Create(again, metadata=metadata)
        assert (caught.value.code(), told(caught.value).code) == (
            StatusCode.INVALID_ARGUMENT,
            "idempotency_mismatch",
        )
    with pytest.raises(AioRpcError) as caught:
        await vms.Create(request, metadata=(("idempotency-key", "k" * 256),))
    assert told(caught.value).details["field"] == "idempotency-key"


async def test_values_of_secrets_are_no_part_of_the_fingerprint(channel: Channel, vm: VM) -> None:
    executions: ExecutionServiceAsyncStub = ExecutionServiceStub(channel)
    first, second = [
        await executions.Start(
            executions_pb2.ExecutionServiceStartRequest(vm="box", spec=sh("true", secret_env={"S": value})),
            metadata=KEY,
        )
        for value in (b"hidden-one", b"hidden-two")
    ]
    assert first == second


async def test_one_that_failed_is_tried_anew_and_one_that_goes_on_is_told(
    vms: VMServiceAsyncStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = vms_pb2.VMServiceCreateRequest(spec=vms_pb2.VMSpec(image="nothing"))
    for _ in range(2):
        with pytest.raises(AioRpcError) as caught:
            await vms.Create(request, metadata=KEY)
        assert caught.value.code() is StatusCode.NOT_FOUND
    begun, go, create = asyncio.Event(), asyncio.Event(), VMService.create

    async def slow(*args: Any, **more: Any) -> VM:
        begun.set()
        await go.wait()
        return await create(*args, **more)

    monkeypatch.setattr(VMService, "create", slow)
    request = vms_pb2.VMServiceCreateRequest()
    async with asyncio.timeout(_DEADLINE_S), asyncio.TaskGroup() as group:

        async def first() -> vms_pb2.VMServiceCreateResponse:
            return await vms.Create(request, metadata=KEY)

        running = group.create_task(first())
        await begun.wait()
        with pytest.raises(AioRpcError) as caught:
            await vms.Create(request, metadata=KEY)
        assert told(caught.value).code == "idempotency_in_progress"
        go.set()
    assert (await vms.Create(request, metadata=KEY)).vm.id == running.result().vm.id


async def test_an_image_is_built_once(
    served: Served, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, built = await served.platform.images.get("base"), []

    async def build(*_: object, **__: object) -> object:
        built.append(base)
        return base

    monkeypatch.setattr(ImageService, "build", build)
    images: ImageServiceAsyncStub = ImageServiceStub(channel)
    for _ in range(2):
        call = images.Build(images_pb2.ImageServiceBuildRequest(), metadata=KEY)
        assert [response.image.digest async for response in call] == [base.digest]
    assert len(built) == 1
