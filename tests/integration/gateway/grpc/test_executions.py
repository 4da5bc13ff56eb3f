"""Executions: to their end, in the background, with stdin, in a terminal, and after a connection is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode
from grpc.aio import AioRpcError, Channel, StreamStreamCall, insecure_channel

from aetherium.domain.executions import ExecutionState
from aetherium.domain.identity import Role
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.vms import VM
from aetherium.protocol.generated import executions_pb2 as pb
from aetherium.protocol.generated.executions_pb2_grpc import ExecutionServiceStub
from tests.fixtures.waiting import eventually
from tests.integration.gateway.grpc.conftest import Served, bearer, sh, told

if TYPE_CHECKING:
    from aetherium.protocol.generated.executions_pb2_grpc import ExecutionServiceAsyncStub

Request = pb.ExecutionServiceAttachRequest
Response = pb.ExecutionServiceAttachResponse
Call = StreamStreamCall[Request, Response]

_DEADLINE_S = 20


@pytest.fixture
def stub(channel: Channel) -> ExecutionServiceAsyncStub:
    return ExecutionServiceStub(channel)


async def _attach(stub: ExecutionServiceAsyncStub, spec: pb.ExecutionSpec) -> tuple[Call, str]:
    """A call that has started `spec` in the box, and the id of the execution."""
    call = stub.Attach(None)
    await call.write(Request(open=pb.AttachOpen(start=pb.AttachStart(vm="box", spec=spec))))
    return call, (await _read(call)).execution.id


async def _read(call: Call) -> Response:
    async with asyncio.timeout(_DEADLINE_S):
        response = await call.read()
    assert isinstance(response, Response)
    return response


async def _until(call: Call, words: bytes) -> bytes:
    """The output, as far as these words are in it."""
    seen = b""
    while words not in seen:
        seen += (await _read(call)).output.data
    return seen


async def _rest(call: Call) -> tuple[bytes, pb.ExecutionResult]:
    """What is still to come of a call."""
    seen = b""
    while not (response := await _read(call)).HasField("result"):
        seen += response.output.data
    assert await call.code() is StatusCode.OK
    return seen, response.result


async def test_a_run_has_output_and_result(stub: ExecutionServiceAsyncStub, vm: VM) -> None:
    spec = sh("cat; printf 'a\\377'; echo b >&2; exit 3", stdin=True)
    spec.secret_env["SECRET"] = b"not shown"
    answer = await stub.Run(pb.ExecutionServiceRunRequest(vm="box", spec=spec, stdin=b"in\n"))
    assert (answer.stdout, answer.stderr) == (b"in\na\xff", b"b\n")
    execution = answer.execution
    assert (execution.state, execution.result.exit_code) == (pb.EXECUTION_STATE_EXITED, 3)
    assert (list(execution.secret_names), dict(execution.spec.secret_env)) == (["SECRET"], {})
    listed = await stub.List(pb.ExecutionServiceListRequest(vm="box"))
    assert [one.id for one in listed.executions] == [execution.id]


async def test_one_in_the_background_is_signalled_killed_and_waited_for(
    stub: ExecutionServiceAsyncStub, vm: VM
) -> None:
    request = pb.ExecutionServiceStartRequest(vm="box", spec=sh("exec sleep 60"))
    first, second = (await stub.Start(request)).execution, (await stub.Start(request)).execution
    await stub.Signal(pb.ExecutionServiceSignalRequest(execution_id=first.id, signal=15))
    ended = (await stub.Wait(pb.ExecutionServiceWaitRequest(execution_id=first.id))).execution
    assert (ended.state, ended.result.signal) == (pb.EXECUTION_STATE_SIGNALED, 15)
    await stub.Kill(pb.ExecutionServiceKillRequest(execution_id=second.id))
    await stub.Wait(pb.ExecutionServiceWaitRequest(execution_id=second.id))
    found = (await stub.Get(pb.ExecutionServiceGetRequest(execution_id=second.id))).execution
    assert found.state == pb.EXECUTION_STATE_CANCELLED


@pytest.mark.parametrize("how", ["deadline", "cancellation"])
async def test_a_run_that_is_given_up_is_killed(
    served: Served, stub: ExecutionServiceAsyncStub, vm: VM, how: str
) -> None:
    flag = served.data_dir / "flag"
    request = pb.ExecutionServiceRunRequest(vm="box", spec=sh(f"touch {flag}; exec sleep 60"))
    call = stub.Run(request, timeout=0.5 if how == "deadline" else None)
    if how == "deadline":
        with pytest.raises(AioRpcError) as caught:
            await call
        assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
    else:
        await eventually(lambda: asyncio.to_thread(flag.exists))
        call.cancel()

    async def cancelled() -> bool:
        states = [one.state for one in await served.platform.executions.list("box")]
        return states == [ExecutionState.CANCELLED]

    await eventually(cancelled)


async def test_stdin_goes_in_while_output_comes_out(stub: ExecutionServiceAsyncStub, vm: VM) -> None:
    call, _ = await _attach(stub, sh("while read line; do echo got $line; done; echo end", stdin=True))
    seen, acknowledged = b"", 0
    for word in (b"one\n", b"two\n"):
        await call.write(Request(stdin=word))
        while b"got " + word not in seen or not acknowledged:
            response = await _read(call)
            seen += response.output.data
            acknowledged = response.stdin_ack or acknowledged
    await call.write(Request(stdin_end=Empty()))
    rest, result = await _rest(call)
    assert (seen + rest, result.exit_code) == (b"got one\ngot two\nend\n", 0)


async def test_the_end_of_the_requests_ends_stdin(stub: ExecutionServiceAsyncStub, vm: VM) -> None:
    call, _ = await _attach(stub, sh("cat; exit 4", stdin=True))
    await call.write(Request(stdin=b"all"))
    await call.done_writing()
    seen, result = await _rest(call)
    assert (seen, result.exit_code) == (b"all", 4)


async def test_a_terminal_has_a_size_that_changes(stub: ExecutionServiceAsyncStub, vm: VM) -> None:
    terminal = pb.TerminalSize(rows=10, columns=20)
    script = "stty size; read line; stty size; exec sleep 60"
    call, _ = await _attach(stub, sh(script, stdin=True, terminal=terminal))
    await _until(call, b"10 20")
    await call.write(Request(resize=pb.TerminalSize(rows=30, columns=90)))
    await call.write(Request(stdin=b"\n"))
    await _until(call, b"30 90")
    await call.write(Request(signal=15))
    assert (await _rest(call))[1].signal == 15


async def test_a_terminal_that_is_left_is_hung_up(
    served: Served, stub: ExecutionServiceAsyncStub, vm: VM
) -> None:
    spec = sh("echo on; exec sleep 60", stdin=True, terminal=pb.TerminalSize(rows=10, columns=20))
    call, execution_id = await _attach(stub, spec)
    await _until(call, b"on")
    call.cancel()
    async with asyncio.timeout(_DEADLINE_S):
        ended = await served.platform.executions.wait(execution_id)
    assert ended.result is not None
    assert ended.result.signal == 1


async def test_output_goes_on_where_a_lost_channel_had_it(served: Served, vm: VM) -> None:
    go = served.data_dir / "go"
    script = f"printf 0123456789; while [ ! -e {go} ]; do sleep 0.01; done; printf abcdef; exit 5"
    async with insecure_channel(served.address) as first:
        call, execution_id = await _attach(ExecutionServiceStub(first), sh(script))
        assert await _until(call, b"9") == b"0123456789"
    go.touch()
    async with insecure_channel(served.address) as second:
        stub: ExecutionServiceAsyncStub = ExecutionServiceStub(second)
        call = stub.Attach(None)
        await call.write(Request(open=pb.AttachOpen(execution_id=execution_id, stdout_offset=7)))
        assert (await _read(call)).execution.id == execution_id
        chunk = (await _read(call)).output
        assert (chunk.offset, chunk.stream) == (7, pb.OUTPUT_STREAM_STDOUT)
        seen, result = await _rest(call)
        assert (chunk.data + seen, result.exit_code) == (b"789abcdef", 5)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Request(stdin=b"x"), StatusCode.INVALID_ARGUMENT),
        (Request(open=pb.AttachOpen()), StatusCode.INVALID_ARGUMENT),
        (Request(open=pb.AttachOpen(execution_id="ex_0000000000000000")), StatusCode.NOT_FOUND),
        (
            Request(open=pb.AttachOpen(start=pb.AttachStart(vm="box", spec=pb.ExecutionSpec()))),
            StatusCode.INVALID_ARGUMENT,
        ),
    ],
)
async def test_what_cannot_be_followed_is_refused(
    stub: ExecutionServiceAsyncStub, vm: VM, request_: Request, code: StatusCode
) -> None:
    call = stub.Attach(None)
    await call.write(request_)
    with pytest.raises(AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is code
    assert told(caught.value).message


async def test_a_second_beginning_is_refused(stub: ExecutionServiceAsyncStub, vm: VM) -> None:
    call, execution_id = await _attach(stub, sh("exec sleep 60"))
    await call.write(Request(open=pb.AttachOpen(execution_id=execution_id)))
    with pytest.raises(AioRpcError) as caught:
        await _read(call)
    assert caught.value.code() is StatusCode.INVALID_ARGUMENT
    await stub.Kill(pb.ExecutionServiceKillRequest(execution_id=execution_id))


async def test_stdin_that_is_not_read_waits(served: Served, stub: ExecutionServiceAsyncStub, vm: VM) -> None:
    go = served.data_dir / "go"
    script = f"echo on; while [ ! -e {go} ]; do sleep 0.01; done; wc -c"
    call, _ = await _attach(stub, sh(script, stdin=True))
    await _until(call, b"on")

    async def write() -> None:
        for _ in range(64):
            await call.write(Request(stdin=b"x" * 65536))
        await call.done_writing()

    writing = asyncio.ensure_future(write())
    while not (await _read(call)).stdin_ack:
        pass
    assert not writing.done()
    go.touch()
    seen, result = await _rest(call)
    await writing
    assert (int(seen), result.exit_code) == (64 * 65536, 0)


async def test_who_does_not_read_holds_up_output_and_not_controls(
    served: Served, stub: ExecutionServiceAsyncStub, vm: VM
) -> None:
    call, execution_id = await _attach(stub, sh("exec yes"))
    await _until(call, b"y\n")
    await call.write(Request(kill=Empty()))
    async with asyncio.timeout(_DEADLINE_S):
        ended = await served.platform.executions.wait(execution_id)
    assert ended.state is ExecutionState.CANCELLED
    call.cancel()


async def test_who_only_reads_neither_writes_nor_ends_stdin(
    served: Served, stub: ExecutionServiceAsyncStub, vm: VM
) -> None:
    viewer = await bearer(served.platform, project_id=DEFAULT_PROJECT, role=Role.VIEWER)
    writer, execution_id = await _attach(stub, sh("echo on; cat", stdin=True))
    await _until(writer, b"on")
    # Who is in a project finds an execution by its row, which is written some milliseconds late.
    await served.platform.host.journal.flush()
    for more in ((), (Request(stdin=b"x"),), (Request(stdin_end=Empty()),)):
        reader = stub.Attach(None, metadata=viewer)
        await reader.write(Request(open=pb.AttachOpen(execution_id=execution_id)))
        await _until(reader, b"on")
        for request in more:
            await reader.write(request)
            with pytest.raises(AioRpcError) as caught:
                await _rest(reader)
            assert caught.value.code() is StatusCode.PERMISSION_DENIED
        if not more:
            await reader.done_writing()
    await writer.write(Request(stdin=b"still there"))
    await _until(writer, b"still there")
    await writer.write(Request(stdin_end=Empty()))
    assert (await _rest(writer))[1].exit_code == 0
