"""Executions: output, stdin, terminals, signals; slow and vanishing clients."""

from __future__ import annotations

import asyncio
import os

import pytest

from aetherium.client.aio import AsyncClient
from aetherium.client.executions import Output
from aetherium.client.interactive import Session
from aetherium.domain.errors import InvalidInput, NotFound
from aetherium.domain.executions import ExecutionSpec, ExecutionState, TerminalSize
from aetherium.domain.guest import OutputStream
from aetherium.domain.ids import EXECUTION, new_id
from aetherium.domain.vms import VM
from tests.integration.gateway.conftest import Gateway

_DEADLINE_S = 20


def _sh(script: str, **more: object) -> ExecutionSpec:
    return ExecutionSpec(("/bin/sh", "-c", script), **more)  # type: ignore[arg-type] # the test's own keywords


async def _all(output: Output | Session) -> dict[OutputStream, bytes]:
    found = {OutputStream.STDOUT: b"", OutputStream.STDERR: b""}
    async for chunk in output.__aiter__():
        assert chunk.offset == len(found[chunk.stream])
        found[chunk.stream] += chunk.data
    return found


async def test_run_gives_output_and_result(client: AsyncClient, vm: VM) -> None:
    execution, stdout, stderr = await client.executions.run("box", _sh("printf 'a\\377'; echo b >&2; exit 3"))
    assert (stdout, stderr) == (b"a\xff", b"b\n")
    assert execution.result is not None
    assert execution.result.exit_code == 3
    assert [found.id for found in await client.executions.list("box")] == [execution.id]
    assert (await client.executions.get(execution.id)).state is ExecutionState.EXITED


async def test_output_streams_live_and_resumes_from_an_offset(client: AsyncClient, vm: VM) -> None:
    spec = _sh("echo first; echo second; exit 4")
    async with client.executions.stream("box", spec) as output:
        assert output.execution is not None
        execution_id = output.execution.id
        assert (await _all(output))[OutputStream.STDOUT] == b"first\nsecond\n"
        assert output.result is not None
        assert output.result.exit_code == 4
    async with client.executions.follow(execution_id, stdout_offset=6) as rest:
        chunks = [chunk async for chunk in rest.__aiter__()]
    assert b"".join(chunk.data for chunk in chunks) == b"second\n"
    assert chunks[0].offset == 6


async def test_an_execution_outlives_its_client(client: AsyncClient, vm: VM) -> None:
    async with client.executions.stream("box", _sh("echo on; exec sleep 60")) as output:
        await anext(output.__aiter__())
        assert output.execution is not None
        execution_id = output.execution.id
    assert (await client.executions.get(execution_id)).state is ExecutionState.RUNNING
    await client.executions.kill(execution_id)
    async with asyncio.timeout(_DEADLINE_S):
        assert (await client.executions.wait(execution_id)).state is ExecutionState.CANCELLED


async def test_signals_reach_the_process_group(client: AsyncClient, vm: VM) -> None:
    execution = await client.executions.start("box", _sh("exec sleep 60"))
    await client.executions.signal(execution.id, 15)
    async with asyncio.timeout(_DEADLINE_S):
        done = await client.executions.wait(execution.id)
    assert done.result is not None
    assert done.result.signal == 15


async def test_stdin_goes_in_as_it_is(client: AsyncClient, vm: VM) -> None:
    data = os.urandom(1 << 20)
    async with client.executions.interactive("box", ExecutionSpec(("cat",), stdin=True)) as session:

        async def feed() -> None:
            await session.write(data)
            await session.close_stdin()

        async with asyncio.timeout(_DEADLINE_S), asyncio.TaskGroup() as group:
            group.create_task(feed())
            output = await _all(session)
        assert output[OutputStream.STDOUT] == data
        assert session.result is not None
        assert session.result.ok


async def test_a_program_that_does_not_read_holds_up_stdin_but_not_signals(
    client: AsyncClient, vm: VM
) -> None:
    spec = ExecutionSpec(("sleep", "60"), stdin=True)
    async with client.executions.interactive("box", spec) as session:
        writing = asyncio.ensure_future(session.write(b"x" * (64 << 20)))
        async with asyncio.timeout(_DEADLINE_S):
            await session.signal(15)
            await _all(session)
            await writing
        assert session.result is not None
        assert session.result.signal == 15


async def test_more_stdin_than_the_window_is_refused(client: AsyncClient, vm: VM) -> None:
    spec = ExecutionSpec(("sleep", "60"), stdin=True)
    async with client.executions.interactive("box", spec) as session:
        session._credit = asyncio.Semaphore(10_000)
        writing = asyncio.ensure_future(session.write(b"x" * (16 << 20)))
        with pytest.raises(InvalidInput, match="unacknowledged"):
            async with asyncio.timeout(_DEADLINE_S):
                await _all(session)
        await writing
        assert session.execution is not None
        await client.executions.kill(session.execution.id)


async def test_a_terminal_has_a_size_that_changes_and_hangs_up(client: AsyncClient, vm: VM) -> None:
    spec = _sh("stty size; read line; stty size", terminal=TerminalSize(10, 20), stdin=True)
    async with client.executions.interactive("box", spec) as session:
        await session.resize(TerminalSize(30, 90))
        await session.write(b"\n")
        async with asyncio.timeout(_DEADLINE_S):
            text = (await _all(session))[OutputStream.STDOUT]
        assert b"30 90" in text
    async with client.executions.interactive(
        "box", _sh("echo up; exec sleep 60", terminal=TerminalSize())
    ) as session:
        await anext(session.__aiter__())
        assert session.execution is not None
        left = session.execution.id
    async with asyncio.timeout(_DEADLINE_S):
        done = await client.executions.wait(left)
    assert done.result is not None
    assert done.result.signal == 1


async def test_a_client_that_does_not_read_does_not_fill_the_gateway(
    gateway: Gateway, client: AsyncClient, vm: VM
) -> None:
    """The guest's window and the socket hold a few MiB; nothing else may pile up."""
    async with client.executions.stream("box", ExecutionSpec(("yes",))) as output:
        await anext(output.__aiter__())
        assert output.execution is not None
        (status,) = await _status_when_stalled(gateway, output.execution.id)
        await client.executions.kill(output.execution.id)
    assert status < 16 << 20


async def _status_when_stalled(gateway: Gateway, execution_id: str) -> list[int]:
    """Bytes that the program could write, once it is held up."""
    seen = -1
    async with asyncio.timeout(_DEADLINE_S), gateway.platform.vms.guest("box") as guest:
        while True:
            await guest.ping()
            (now,) = [s.stdout_bytes for s in await guest.executions() if s.id == execution_id]
            if now == seen:
                return [now]
            seen = now
            await guest.run(new_id(EXECUTION), ExecutionSpec(("sleep", "0.2")))  # time in the guest


async def test_bad_requests_are_told_as_such(client: AsyncClient, vm: VM) -> None:
    with pytest.raises(NotFound):
        async with client.executions.stream("nothing", _sh("true")):
            pass
    with pytest.raises(NotFound):
        async with client.executions.interactive("nothing", _sh("true")):
            pass
    with pytest.raises(NotFound):
        async with client.executions.attach("ex_0000000000000000"):
            pass
    missing = ExecutionSpec(("no-such-program",))
    execution, _, _ = await client.executions.run("box", missing)
    assert execution.state is ExecutionState.FAILED
