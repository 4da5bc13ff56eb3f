"""The server itself: health, reflection, errors, who calls, shutting down."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode, ssl_channel_credentials
from grpc.aio import AioRpcError, Channel, insecure_channel, secure_channel
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from aetherium.domain.errors import InvalidInput, NotFound, Unauthenticated
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.identity import Role
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.vms import VM
from aetherium.gateway.grpc.callers import Callers
from aetherium.gateway.grpc.server import SERVICES, serve_configured, serve_grpc
from aetherium.protocol.generated import events_pb2, executions_pb2, installation_pb2, projects_pb2, vms_pb2
from aetherium.protocol.generated.events_pb2_grpc import EventServiceStub
from aetherium.protocol.generated.executions_pb2_grpc import ExecutionServiceStub
from aetherium.protocol.generated.installation_pb2_grpc import InstallationServiceStub
from aetherium.protocol.generated.projects_pb2_grpc import ProjectServiceStub
from aetherium.protocol.generated.vms_pb2_grpc import VMServiceStub
from aetherium.rpc.authority import Kind
from tests.fixtures.certificates import Authority, authority
from tests.fixtures.platform import fake_platform
from tests.fixtures.ports import HOST
from tests.integration.gateway.grpc.conftest import Served, bearer, told

if TYPE_CHECKING:
    from aetherium.protocol.generated.events_pb2_grpc import EventServiceAsyncStub
    from aetherium.protocol.generated.executions_pb2_grpc import ExecutionServiceAsyncStub
    from aetherium.protocol.generated.installation_pb2_grpc import InstallationServiceAsyncStub
    from aetherium.protocol.generated.projects_pb2_grpc import ProjectServiceAsyncStub
    from aetherium.protocol.generated.vms_pb2_grpc import VMServiceAsyncStub

__all__ = ["authority"]


async def test_health_is_told_of_each_service(channel: Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", *SERVICES):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_has_the_services_and_their_files(channel: Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="aetherium.v1.JobService"),
    ]
    listed, file = [answer async for answer in stub.ServerReflectionInfo(iter(requests))]
    assert set(SERVICES) <= {service.name for service in listed.list_services_response.service}
    names = [
        FileDescriptorProto.FromString(data).name
        for data in file.file_descriptor_response.file_descriptor_proto
    ]
    assert "aetherium/v1/jobs.proto" in names


async def test_errors_have_codes_details_and_hints(channel: Channel, vm: VM) -> None:
    stub: VMServiceAsyncStub = VMServiceStub(channel)
    with pytest.raises(AioRpcError) as caught:
        await stub.Get(vms_pb2.VMServiceGetRequest(ref="nothing"))
    assert caught.value.code() is StatusCode.NOT_FOUND
    error = told(caught.value)
    assert isinstance(error, NotFound)
    assert error.details == {"kind": "VM", "ref": "nothing"}
    with pytest.raises(AioRpcError) as caught:
        await stub.Create(vms_pb2.VMServiceCreateRequest(spec=vms_pb2.VMSpec(name="box")))
    assert caught.value.code() is StatusCode.ALREADY_EXISTS
    spec = vms_pb2.VMSpec(resources=vms_pb2.Resources(vcpus=0))
    with pytest.raises(AioRpcError) as caught:
        await stub.Create(vms_pb2.VMServiceCreateRequest(spec=spec))
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    error = told(caught.value)
    assert (error.details["field"], error.hint) == ("vcpus", "It must be from 1 to 64.")


async def test_projects_are_made_and_calls_are_made_in_one(served: Served, channel: Channel, vm: VM) -> None:
    stub: ProjectServiceAsyncStub = ProjectServiceStub(channel)
    quota = projects_pb2.Quota(vms=3)
    made = (await stub.Create(projects_pb2.ProjectServiceCreateRequest(name="lab", quota=quota))).project
    assert (made.quota.vms, made.quota.HasField("tasks")) == (3, False)
    assert (await stub.Get(projects_pb2.ProjectServiceGetRequest(ref="lab"))).project == made
    listed = (await stub.List(projects_pb2.ProjectServiceListRequest())).projects
    assert {"lab", "default"} <= {project.name for project in listed}
    request = projects_pb2.ProjectServiceSetQuotaRequest(ref="lab", quota=projects_pb2.Quota(tasks=5))
    changed = (await stub.SetQuota(request)).project.quota
    assert (changed.tasks, changed.HasField("vms")) == (5, False)

    vms: VMServiceAsyncStub = VMServiceStub(channel)
    request_ = vms_pb2.VMServiceListRequest()
    assert [one.id for one in (await vms.List(request_)).vms] == [vm.id]
    assert not (await vms.List(request_, metadata=(("aetherium-project", "lab"),))).vms
    with pytest.raises(AioRpcError) as caught:
        await vms.List(request_, metadata=(("aetherium-project", "elsewhere"),))
    assert caught.value.code() is StatusCode.NOT_FOUND


async def test_a_key_may_do_what_its_role_allows(served: Served, channel: Channel, vm: VM) -> None:
    project = await served.platform.projects.create("lab")
    viewer, stranger = [
        await bearer(served.platform, project_id=id_, role=Role.VIEWER)
        for id_ in (DEFAULT_PROJECT, project.id)
    ]
    stub: VMServiceAsyncStub = VMServiceStub(channel)
    assert (await stub.Get(vms_pb2.VMServiceGetRequest(ref="box"), metadata=viewer)).vm.id == vm.id
    with pytest.raises(AioRpcError) as caught:
        await stub.Pause(vms_pb2.VMServicePauseRequest(ref="box"), metadata=viewer)
    assert caught.value.code() is StatusCode.PERMISSION_DENIED
    assert told(caught.value).details == {"permission": "vms:write"}
    with pytest.raises(AioRpcError) as caught:
        await stub.Get(vms_pb2.VMServiceGetRequest(ref=vm.id), metadata=stranger)
    assert caught.value.code() is StatusCode.NOT_FOUND
    follow: ExecutionServiceAsyncStub = ExecutionServiceStub(channel)
    execution = await served.platform.executions.start("box", ExecutionSpec(("cat",), stdin=True))
    call = follow.Attach(None, metadata=viewer)
    first = executions_pb2.AttachOpen(execution_id=execution.id)
    await call.write(executions_pb2.ExecutionServiceAttachRequest(open=first))
    await call.read()
    await call.write(executions_pb2.ExecutionServiceAttachRequest(stdin=b"x"))
    with pytest.raises(AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is StatusCode.PERMISSION_DENIED
    await served.platform.executions.kill(execution.id)


async def test_without_a_key_nothing_is_answered(data_dir: Path) -> None:
    """No call of any service, however it is made."""
    async with (
        fake_platform(data_dir, background=False) as platform,
        serve_grpc(Callers(platform), f"{HOST}:0") as address,
        insecure_channel(address) as channel,
    ):
        for name in SERVICES:
            for method in Default().FindServiceByName(name).methods:
                with pytest.raises(AioRpcError) as caught:
                    await _answer(channel, name, method)
                assert caught.value.code() is StatusCode.UNAUTHENTICATED, (name, method.name)


async def _answer(channel: Channel, service: str, method: Any) -> object:
    """The first response to an empty request."""
    kind = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }[method.client_streaming, method.server_streaming]
    made: Any = kind(
        f"/{service}/{method.name}",
        request_serializer=Message.SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    request = GetMessageClass(method.input_type)()
    call = made(iter([request]) if method.client_streaming else request, timeout=10)
    return await (call.read() if method.server_streaming else call)


async def test_the_host_is_examined(channel: Channel) -> None:
    stub: InstallationServiceAsyncStub = InstallationServiceStub(channel)
    found = await stub.Examine(installation_pb2.InstallationServiceExamineRequest())
    assert any(check.name and check.detail for check in found.checks)


async def test_requests_are_counted(data_dir: Path) -> None:
    async with (
        fake_platform(data_dir, background=False, rate_limit_key="2/minute") as platform,
        serve_grpc(Callers(platform), f"{HOST}:0") as address,
        insecure_channel(address) as channel,
    ):
        root = await bearer(platform, project_id=None, role=Role.ADMIN)
        stub: VMServiceAsyncStub = VMServiceStub(channel)
        for _ in range(2):
            await stub.List(vms_pb2.VMServiceListRequest(), metadata=root)
        with pytest.raises(AioRpcError) as caught:
            await stub.List(vms_pb2.VMServiceListRequest(), metadata=root)
        assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED
        assert told(caught.value).code == "rate_limited"


async def test_it_is_served_at_the_address_of_the_settings(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform, serve_configured(platform) as address:
        assert address == ""
    async with (
        fake_platform(data_dir, background=False, grpc_listen=f"unix:{data_dir}/g") as platform,
        serve_configured(platform) as address,
        insecure_channel(address) as channel,
    ):
        stub: VMServiceAsyncStub = VMServiceStub(channel)
        assert not (await stub.List(vms_pb2.VMServiceListRequest())).vms


async def test_over_a_network_it_is_tls_and_wants_credentials(data_dir: Path, authority: Authority) -> None:
    identity = authority.identity("g", Kind.GATEWAY)
    trusting = ssl_channel_credentials((authority.directory / "ca.crt").read_bytes())
    async with (
        fake_platform(data_dir, background=False) as platform,
        serve_grpc(Callers(platform), f"{HOST}:0", identity) as address,
        secure_channel(address, trusting) as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub: VMServiceAsyncStub = VMServiceStub(channel)
        for metadata in ((), (("authorization", "Bearer aek_00000000_wrong"),)):
            with pytest.raises(AioRpcError) as caught:
                await stub.List(vms_pb2.VMServiceListRequest(), timeout=10, metadata=metadata)
            assert caught.value.code() is StatusCode.UNAUTHENTICATED
            assert isinstance(told(caught.value), Unauthenticated)
        root = await bearer(platform, project_id=None, role=Role.ADMIN)
        assert not (await stub.List(vms_pb2.VMServiceListRequest(), metadata=root)).vms
        with pytest.raises(InvalidInput, match="grpc_listen"):
            async with serve_grpc(Callers(platform), "0.0.0.0:0"):
                pass


async def test_streams_end_when_the_gateway_does(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform, AsyncExitStack() as stack:
        address = await stack.enter_async_context(serve_grpc(Callers(platform), f"unix:{data_dir}/g"))
        async with insecure_channel(address) as channel, asyncio.timeout(20):
            stub: EventServiceAsyncStub = EventServiceStub(channel)
            call = stub.Watch(events_pb2.EventServiceWatchRequest())
            await call.initial_metadata()
            await stack.aclose()
            assert await call.code() in (StatusCode.CANCELLED, StatusCode.UNAVAILABLE)
