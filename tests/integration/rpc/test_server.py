"""The server itself, seen by a client that knows nothing but the .proto file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Channel, insecure_channel
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from aetherium.domain.errors import InvalidInput, Unavailable
from aetherium.domain.executions import ExecutionSpec, ExecutionState, TerminalSize
from aetherium.domain.ids import EXECUTION, new_id
from aetherium.domain.vms import VMSpec
from aetherium.gateway.remote.channels import Channels
from aetherium.protocol.generated import executions_pb2
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.protocol.generated.worker_pb2_grpc import WorkerServiceStub
from aetherium.rpc import convert
from aetherium.rpc.auth import credentials
from aetherium.services.job_files import LocalJobFiles
from aetherium.worker.grpc.server import SERVICE, serve_worker
from tests.fixtures.platform import fake_platform
from tests.fixtures.waiting import eventually
from tests.integration.rpc.conftest import TOKEN, Cluster, sh

if TYPE_CHECKING:
    from aetherium.protocol.generated.worker_pb2_grpc import WorkerServiceAsyncStub

_DEADLINE_S = 20
METADATA = credentials(TOKEN)


@pytest.fixture
async def channel(cluster: Cluster) -> AsyncIterator[Channel]:
    async with insecure_channel(cluster.address) as channel:
        yield channel


@pytest.fixture
def stub(channel: Channel) -> WorkerServiceAsyncStub:
    return WorkerServiceStub(channel)


def _start(cluster: Cluster, spec: ExecutionSpec, execution_id: str = "", **more: Any) -> pb.Start:
    return pb.Start(
        vm_id=cluster.vm.id,
        execution_id=execution_id or new_id(EXECUTION),
        spec=convert.spec_to_pb(spec),
        **more,
    )


async def test_health_is_open_and_everything_else_wants_the_token(cluster: Cluster, channel: Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", SERVICE):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    stub: WorkerServiceAsyncStub = WorkerServiceStub(channel)
    for metadata in ((), (("authorization", f"Bearer {TOKEN}x"),)):
        with pytest.raises(AioRpcError) as caught:
            await stub.DeleteVM(pb.DeleteVMRequest(vm_id=cluster.vm.id), metadata=metadata)
        assert caught.value.code() is StatusCode.UNAUTHENTICATED
    assert await cluster.remote.vms.get("box")


async def test_reflection_names_the_service(channel: Channel) -> None:
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    call = reflection.ServerReflectionInfo(iter([request]), metadata=METADATA)
    async for answer in call:
        assert SERVICE in [service.name for service in answer.list_services_response.service]
        return


async def test_a_run_past_its_deadline_is_killed(cluster: Cluster, stub: WorkerServiceAsyncStub) -> None:
    request = pb.RunRequest(start=_start(cluster, sh("exec sleep 60")))
    with pytest.raises(AioRpcError) as caught:
        await stub.Run(request, timeout=0.5, metadata=METADATA)
    assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: _state_is(cluster, request.start.execution_id, ExecutionState.CANCELLED))


async def test_a_run_that_is_cancelled_is_killed(cluster: Cluster, stub: WorkerServiceAsyncStub) -> None:
    flag = cluster.data_dir / "flag"
    request = pb.RunRequest(start=_start(cluster, sh(f"touch {flag}; exec sleep 60")))
    call = stub.Run(request, metadata=METADATA)
    await eventually(lambda: asyncio.to_thread(flag.exists))
    call.cancel()
    await eventually(lambda: _state_is(cluster, request.start.execution_id, ExecutionState.CANCELLED))


async def _state_is(cluster: Cluster, execution_id: str, state: ExecutionState) -> bool:
    return (await cluster.worker.executions.get(execution_id)).state is state


async def test_a_run_that_is_repeated_gives_the_first_answer(
    cluster: Cluster, stub: WorkerServiceAsyncStub
) -> None:
    flag = cluster.data_dir / "flag"
    spec = sh(f"cat; echo x >> {flag}; echo done")
    first = pb.RunRequest(start=_start(cluster, spec), stdin=b"in\n")
    answer = await stub.Run(first, metadata=METADATA)
    assert (answer.stdout, answer.execution.result.exit_code) == (b"in\ndone\n", 0)
    first.start.repeat = True
    assert await stub.Run(first, metadata=METADATA) == answer
    assert flag.read_text() == "x\n"
    first.start.spec.argv[-1] = b"another command"
    with pytest.raises(AioRpcError) as caught:
        await stub.Run(first, metadata=METADATA)
    assert caught.value.code() is StatusCode.ALREADY_EXISTS


async def test_controls_go_with_the_stream(cluster: Cluster, stub: WorkerServiceAsyncStub) -> None:
    spec = sh("stty size; read line; stty size; exec sleep 60", terminal=TerminalSize(10, 20), stdin=True)
    call = stub.Interact(None, metadata=METADATA)
    follow = pb.Follow(session=b"s" * 16, start=_start(cluster, spec))
    await call.write(pb.InteractRequest(follow=follow))
    seen, result = b"", None
    sent = 0
    async with asyncio.timeout(_DEADLINE_S):
        while result is None:
            response = await call.read()
            assert isinstance(response, pb.InteractResponse)
            seen += response.output.data
            result = response.ended.result if response.HasField("ended") else None
            if b"10 20" in seen and sent == 0:
                sent = 1
                await call.write(pb.InteractRequest(resize=executions_pb2.TerminalSize(rows=30, columns=90)))
                await call.write(pb.InteractRequest(stdin=b"\n"))
            if b"30 90" in seen and sent == 1:
                sent = 2
                await call.write(pb.InteractRequest(signal=15))
    assert result.signal == 15


@pytest.mark.parametrize(
    "request_",
    [
        pb.InteractRequest(stdin=b"x"),
        pb.InteractRequest(follow=pb.Follow(session=b"short", execution_id="ex_0000000000000000")),
    ],
)
async def test_a_stream_begins_with_what_is_followed(
    stub: WorkerServiceAsyncStub, request_: pb.InteractRequest
) -> None:
    call = stub.Interact(None, metadata=METADATA)
    await call.write(request_)
    with pytest.raises(AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT


async def test_more_stdin_than_the_window_is_refused(cluster: Cluster, stub: WorkerServiceAsyncStub) -> None:
    start = _start(cluster, ExecutionSpec(("sleep", "60"), stdin=True))
    call = stub.Interact(None, metadata=METADATA)
    await call.write(pb.InteractRequest(follow=pb.Follow(session=b"s" * 16, start=start)))
    await call.read()

    async def flood() -> None:
        while True:
            await call.write(pb.InteractRequest(stdin=b"x" * 65536))

    async with asyncio.timeout(_DEADLINE_S):
        flooding = asyncio.ensure_future(flood())
        response: object = pb.InteractResponse()
        while isinstance(response, pb.InteractResponse) and not response.HasField("error"):
            response = await call.read()
        assert isinstance(response, pb.InteractResponse)
        assert response.error.code == "invalid_input"
        flooding.cancel()
        await asyncio.wait({flooding})
    await cluster.worker.executions.kill(start.execution_id)


async def test_a_later_connection_of_a_session_takes_over(
    cluster: Cluster, stub: WorkerServiceAsyncStub
) -> None:
    start = _start(cluster, sh("echo on; exec sleep 60"))
    first, second = stub.Interact(None, metadata=METADATA), stub.Interact(None, metadata=METADATA)
    await first.write(pb.InteractRequest(follow=pb.Follow(session=b"s" * 16, start=start)))
    async with asyncio.timeout(_DEADLINE_S):
        while not (await _response(first)).HasField("output"):
            pass
        start.repeat = True
        await second.write(pb.InteractRequest(follow=pb.Follow(session=b"s" * 16, start=start)))
        following = await _response(second)
        assert following.following.stdin_received == 0
        assert following.following.HasField("stdin_received")
        assert (await _response(second)).output.data == b"on\n"  # from the offset that this one has reached
        with pytest.raises(AioRpcError) as caught:
            await first.read()
        assert caught.value.code() is StatusCode.FAILED_PRECONDITION
    await cluster.worker.executions.kill(start.execution_id)


async def _response(call: Any) -> pb.InteractResponse:
    response = await call.read()
    assert isinstance(response, pb.InteractResponse)
    return response


async def test_a_defect_leaves_a_number_and_the_log_has_the_rest(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the innermost")

    monkeypatch.setattr(type(cluster.worker.vms), "diagnose", broken)
    with caplog.at_level(logging.ERROR), pytest.raises(Exception, match="incident") as caught:
        await cluster.remote.vms.diagnose("box")
    assert "innermost" not in str(caught.value)


@asynccontextmanager
async def _worker(data_dir: Path, address: str) -> AsyncIterator[str]:
    async with fake_platform(data_dir, background=False) as platform:
        await platform.vms.create(VMSpec(name="box"))
        async with serve_worker(platform, LocalJobFiles(data_dir / "jobs"), address, TOKEN) as bound:
            yield bound


async def test_it_listens_at_a_unix_socket(data_dir: Path) -> None:
    address = f"unix:{data_dir}/worker.sock"
    async with _worker(data_dir, address) as bound, Channels(TOKEN) as channels:
        assert bound == address
        async with channels.use(bound) as link:
            assert await link.ready(5.0)


async def test_an_address_that_is_taken_or_reaches_further_is_refused(data_dir: Path) -> None:
    async with _worker(data_dir, "127.0.0.1:0") as bound:
        assert not bound.endswith(":0")
        async with fake_platform(data_dir, background=False) as platform:
            files = LocalJobFiles(data_dir / "jobs")
            with pytest.raises(Unavailable, match=bound):
                async with serve_worker(platform, files, bound, TOKEN):
                    pass
            for address in ("0.0.0.0:0", "localhost", "10.0.0.1:1", ":1"):  # refused
                with pytest.raises(InvalidInput, match="encrypted"):
                    async with serve_worker(platform, files, address, TOKEN):
                        pass
