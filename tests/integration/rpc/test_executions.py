"""Executions through gRPC: what the local service promises holds from afar."""

from __future__ import annotations

import asyncio
import os

import pytest

from aetherium.domain.errors import GuestError, LimitExceeded, NotFound
from aetherium.domain.executions import ExecutionSpec, ExecutionState, TerminalSize
from aetherium.domain.guest import OutputStream
from aetherium.interfaces.guest import Attachment
from tests.fixtures.waiting import eventually
from tests.integration.rpc.conftest import Cluster, sh

_DEADLINE_S = 20


async def read_all(attachment: Attachment) -> dict[OutputStream, bytes]:
    """All output; fails at a gap or a repeat."""
    found = {OutputStream.STDOUT: bytearray(), OutputStream.STDERR: bytearray()}
    async for chunk in attachment:
        assert chunk.offset == len(found[chunk.stream])
        found[chunk.stream] += chunk.data
    return {stream: bytes(data) for stream, data in found.items()}


async def test_run_gives_what_is_recorded(cluster: Cluster) -> None:
    executions = cluster.remote.executions
    execution, out, err = await executions.run("box", sh("cat; echo e >&2; exit 3"), stdin=b"a\xff")
    assert (out, err) == (b"a\xff", b"e\n")
    assert execution.result is not None
    assert (execution.state, execution.result.exit_code) == (ExecutionState.EXITED, 3)
    assert await executions.get(execution.id) == execution
    assert await executions.wait(execution.id) == execution
    assert await executions.list("box") == [execution]
    assert await cluster.worker.executions.get(execution.id) == execution


async def test_a_command_that_cannot_start_has_failed_and_says_why(cluster: Cluster) -> None:
    missing = ExecutionSpec(("/no/such/program",))
    execution, _, _ = await cluster.remote.executions.run("box", missing)
    assert execution.state is ExecutionState.FAILED
    assert execution.result is not None
    assert "program" in execution.result.error
    started = await cluster.remote.executions.start("box", missing)
    assert started.state is ExecutionState.FAILED


async def test_what_is_not_there_is_told_as_such(cluster: Cluster) -> None:
    executions = cluster.remote.executions
    with pytest.raises(NotFound, match="nothing"):
        await executions.run("nothing", sh("true"))
    with pytest.raises(NotFound):
        await executions.get("ex_0000000000000000")
    with pytest.raises(NotFound):
        async with executions.attach("ex_0000000000000000"):
            pass
    ended, _, _ = await executions.run("box", sh("true"))
    with pytest.raises(GuestError):
        await executions.signal(ended.id, 12345)


async def test_secrets_are_masked_on_the_worker(cluster: Cluster) -> None:
    spec = sh("echo $S", secret_env={"S": "open-sesame"})
    execution, out, _ = await cluster.remote.executions.run("box", spec)
    assert out == b"*" * 11 + b"\n"
    assert execution.secret_names == ("S",)
    assert not execution.spec.secret_env


async def test_an_execution_is_started_signalled_resized_and_waited_for(cluster: Cluster) -> None:
    executions = cluster.remote.executions
    spec = sh("stty size; read line; stty size; exec sleep 60", terminal=TerminalSize(10, 20), stdin=True)
    started = await executions.start("box", spec)
    assert started.state is ExecutionState.RUNNING
    await executions.resize(started.id, TerminalSize(30, 90))
    async with asyncio.timeout(_DEADLINE_S), executions.attach(started.id) as attachment:
        await attachment.write_stdin(b"\n")
        seen = b""
        async for chunk in attachment:
            seen += chunk.data
            if b"30 90" in seen:
                break
    await executions.signal(started.id, 15)
    ended = await executions.wait(started.id)
    assert ended.result is not None
    assert ended.result.signal == 15
    again = await executions.start("box", ExecutionSpec(("sleep", "60")))
    await executions.kill(again.id)
    assert (await executions.wait(again.id)).state is ExecutionState.CANCELLED


async def test_output_comes_from_an_offset_on(cluster: Cluster) -> None:
    executions = cluster.remote.executions
    execution, _, _ = await executions.run("box", sh("echo first; echo second"))
    async with executions.attach(execution.id, stdout_offset=6) as attachment:
        chunks = [chunk async for chunk in attachment]
        assert (await attachment.result()).exit_code == 0
    assert (chunks[0].offset, b"".join(chunk.data for chunk in chunks)) == (6, b"second\n")


async def test_ten_megabytes_go_in_and_come_back(cluster: Cluster) -> None:
    data = os.urandom(10 << 20)
    execution, out, _ = await cluster.remote.executions.run("box", ExecutionSpec(("cat",)), stdin=data)
    assert execution.result is not None
    assert execution.result.ok
    assert out == data


async def test_leaving_lets_the_command_go_on_and_frees_the_worker(cluster: Cluster) -> None:
    async with cluster.remote.executions.launch("box", sh("echo on; exec sleep 60")) as (execution, output):
        await anext(aiter(output))
    activity = cluster.worker.host.activity

    async def unused() -> bool:
        return not activity.in_use(cluster.vm.id)

    await eventually(unused)
    assert (await cluster.remote.executions.get(execution.id)).state is ExecutionState.RUNNING


async def test_a_cancelled_run_is_killed(cluster: Cluster) -> None:
    flag = cluster.data_dir / "flag"
    task = asyncio.ensure_future(cluster.remote.executions.run("box", sh(f"touch {flag}; sleep 60")))
    await eventually(lambda: asyncio.to_thread(flag.exists))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (row,) = await cluster.remote.executions.list("box")
    assert row.state is ExecutionState.CANCELLED


async def test_too_much_output_ends_a_run(cluster: Cluster) -> None:
    with pytest.raises(LimitExceeded, match="output_mib"):
        await cluster.remote.executions.run("box", ExecutionSpec(("yes",)))


async def test_the_result_comes_though_nobody_reads_the_output(cluster: Cluster) -> None:
    async with (
        asyncio.timeout(_DEADLINE_S),
        cluster.remote.executions.launch("box", sh("head -c 5000000 /dev/zero; exit 4")) as (_, attachment),
    ):
        assert (await attachment.result()).exit_code == 4


async def test_a_slow_reader_holds_the_command_up(cluster: Cluster) -> None:
    """Some hundred KiB are on their way at each step; nothing else may pile up."""
    async with cluster.remote.executions.launch("box", ExecutionSpec(("yes",))) as (execution, attachment):
        chunks = aiter(attachment)
        await anext(chunks)
        assert await _written_when_stalled(cluster, execution.id) < 4 << 20
        other, _, _ = await cluster.remote.executions.run("box", sh("true"))  # others are not held up
        assert other.state is ExecutionState.EXITED
        await cluster.remote.executions.kill(execution.id)


async def _written_when_stalled(cluster: Cluster, execution_id: str) -> int:
    """Bytes that the program could write, once it is held up."""
    seen = -1
    async with asyncio.timeout(_DEADLINE_S), cluster.worker.vms.guest("box") as guest:
        while True:
            (now,) = [each.stdout_bytes for each in await guest.executions() if each.id == execution_id]
            if now == seen:
                return now
            seen = now
            await cluster.worker.executions.run("box", sh("sleep 0.2"))  # time in the guest


async def test_a_program_that_does_not_read_holds_up_stdin_but_not_signals(cluster: Cluster) -> None:
    spec = ExecutionSpec(("sleep", "60"), stdin=True)
    async with (
        asyncio.timeout(_DEADLINE_S),
        cluster.remote.executions.launch("box", spec) as (execution, attachment),
    ):
        writing = asyncio.ensure_future(attachment.write_stdin(b"x" * (8 << 20)))
        await cluster.remote.executions.signal(execution.id, 15)
        assert (await attachment.result()).signal == 15
        await writing


async def test_the_same_id_runs_once(cluster: Cluster) -> None:
    executions = cluster.worker.executions
    ran = cluster.data_dir / "ran"
    spec = sh(f"echo x >> {ran}; echo done")
    first = await executions.start(cluster.vm.id, spec, execution_id="ex_0123456789abcdef")
    assert await executions.wait(first.id) == await executions.start(
        cluster.vm.id, spec, execution_id="ex_0123456789abcdef"
    )
    assert (await executions.outcome(first.id))[1] == b"done\n"
    assert ran.read_text() == "x\n"
