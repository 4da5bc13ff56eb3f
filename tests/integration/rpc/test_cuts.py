"""Connections that are cut, workers that are started again: nothing is lost, repeated or done twice."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TypeVar

import pytest

from aetherium.domain.errors import ChannelClosed, Unavailable
from aetherium.domain.executions import ExecutionSpec, ExecutionState
from aetherium.domain.guest import OutputStream
from aetherium.interfaces.guest import Attachment
from tests.fixtures.proxy import Way
from tests.fixtures.waiting import eventually
from tests.integration.rpc.conftest import WORKER_ID, Cluster, sh

T = TypeVar("T")

_DEADLINE_S = 30
_LINES = 200_000
COUNT = f"seq {_LINES}"
COUNTED = "".join(f"{n}\n" for n in range(1, _LINES + 1)).encode()


async def true(value: object) -> object:
    """For `eventually`."""
    return value


async def _cut_at(cluster: Cluster, attachment: Attachment, places: set[int]) -> bytes:
    """All of stdout, without a gap or a repeat; the connection is cut whenever it is longer than a place."""
    found = bytearray()
    async for chunk in attachment:
        assert chunk.stream is OutputStream.STDOUT
        assert chunk.offset == len(found)
        found += chunk.data
        if passed := {place for place in places if place < len(found)}:
            places -= passed
            cluster.proxy.cut()
    return bytes(found)


async def test_output_goes_on_where_it_was_cut(cluster: Cluster) -> None:
    places = {0, 10_000, 300_000, 600_000, 1_000_000}
    async with (
        asyncio.timeout(_DEADLINE_S),
        cluster.remote.executions.launch("box", sh(COUNT)) as (execution, attachment),
    ):
        assert await _cut_at(cluster, attachment, places) == COUNTED
        assert (await attachment.result()).ok
    assert not places
    assert cluster.proxy.connections > 3
    assert [each.id for each in await cluster.remote.executions.list("box")] == [execution.id]


async def test_output_that_the_agent_keeps_little_of_has_no_gap_either(cluster: Cluster) -> None:
    spec = sh(COUNT, output_limit=1)
    async with (
        asyncio.timeout(_DEADLINE_S),
        cluster.remote.executions.launch("box", spec) as (_, attachment),
    ):
        assert await _cut_at(cluster, attachment, {0, 300_000, 600_000}) == COUNTED


async def test_stdin_goes_on_where_it_was_cut(cluster: Cluster) -> None:
    data = os.urandom(4 << 20)
    async with (
        asyncio.timeout(_DEADLINE_S),
        cluster.remote.executions.launch("box", ExecutionSpec(("cat",), stdin=True)) as (_, attachment),
    ):

        async def feed() -> None:
            await attachment.write_stdin(data)
            await attachment.close_stdin()

        async with asyncio.TaskGroup() as group:
            group.create_task(feed())
            came_back = await _cut_at(cluster, attachment, {1, 500_000, 1_500_000, 3_000_000})
    assert hashlib.sha256(came_back).digest() == hashlib.sha256(data).digest()


async def test_a_run_survives_a_cut_and_runs_once(cluster: Cluster) -> None:
    flag = cluster.data_dir / "flag"
    script = f"echo x >> {flag}; read line; cat {flag}"
    running = asyncio.ensure_future(cluster.remote.executions.run("box", sh(script), stdin=b"\n"))
    await eventually(lambda: asyncio.to_thread(flag.exists))
    cluster.proxy.cut()
    async with asyncio.timeout(_DEADLINE_S):
        execution, out, _ = await running
    assert (execution.state, out) == (ExecutionState.EXITED, b"x\n")


async def test_a_worker_that_is_started_again_is_found_again(cluster: Cluster) -> None:
    """The guest's agent keeps the execution; the new worker masks as the old one did."""
    spec = sh("echo $S; read line; echo $line $S; exit 5", stdin=True, secret_env={"S": "open-sesame"})
    hidden = "*" * 11
    async with (
        asyncio.timeout(_DEADLINE_S),
        cluster.remote.executions.launch("box", spec) as (execution, attachment),
    ):
        chunks = aiter(attachment)
        seen = (await anext(chunks)).data
        await cluster.start_again()
        await attachment.write_stdin(b"second\n")
        seen += b"".join([chunk.data async for chunk in chunks])
        assert seen.decode() == f"{hidden}\nsecond {hidden}\n"
        assert (await attachment.result()).exit_code == 5
    assert (await cluster.remote.executions.get(execution.id)).state is ExecutionState.EXITED


async def test_output_goes_on_over_a_restart_of_the_worker(cluster: Cluster) -> None:
    async with (
        asyncio.timeout(_DEADLINE_S),
        cluster.remote.executions.launch("box", sh(COUNT)) as (_, attachment),
    ):
        found = bytearray()
        async for chunk in attachment:
            assert chunk.offset == len(found)
            if not found:
                await cluster.start_again()
            found += chunk.data
    assert bytes(found) == COUNTED


async def test_stdin_of_which_nobody_knows_whether_it_arrived_is_not_sent_again(cluster: Cluster) -> None:
    spec = ExecutionSpec(("sleep", "60"), stdin=True)
    async with (
        asyncio.timeout(_DEADLINE_S),
        cluster.remote.executions.launch("box", spec) as (execution, attachment),
    ):
        # More than what lies between here and a program that does not read can hold.
        writing = asyncio.ensure_future(attachment.write_stdin(b"x" * (4 << 20)))
        await eventually(lambda: true(cluster.proxy.traffic[Way.TO_TARGET].bytes > 300_000))
        await cluster.start_again()
        with pytest.raises(ChannelClosed, match="stdin"):
            await writing
        await cluster.remote.executions.kill(execution.id)
        assert (await attachment.result()).state is ExecutionState.CANCELLED


async def test_files_are_read_on_where_they_were_cut(cluster: Cluster) -> None:
    data = os.urandom(8 << 20)
    (cluster.data_dir / "large").write_bytes(data)
    found = bytearray()
    async with asyncio.timeout(_DEADLINE_S), cluster.remote.vms.guest("box") as guest:
        async for piece in guest.read(f"{cluster.data_dir}/large", offset=7, length=len(data) - 100):
            if len(found) >> 20 != len(found) + len(piece) >> 20:
                cluster.proxy.cut()
            found += piece
    assert bytes(found) == data[7 : len(data) - 93]


async def test_what_jobs_have_written_is_read_on_where_it_was_cut(cluster: Cluster) -> None:
    data = os.urandom(4 << 20)
    job = cluster.data_dir / "jobs/job_0000000000000000"
    job.mkdir(parents=True)
    (job / "log").write_bytes(data)
    found = bytearray()
    async with asyncio.timeout(_DEADLINE_S):
        async for piece in cluster.remote.job_files.read(WORKER_ID, job.name, "log", 5):
            if not found:
                cluster.proxy.cut()
            found += piece
    assert bytes(found) == data[5:]


async def test_a_cut_upload_changes_nothing(cluster: Cluster) -> None:
    path = cluster.data_dir / "file"
    path.write_bytes(b"old")

    async def source() -> AsyncIterator[bytes]:
        yield b"x" * 300_000
        cluster.proxy.cut()
        yield b"x" * 300_000

    async with asyncio.timeout(_DEADLINE_S), cluster.remote.vms.guest("box") as guest:
        with pytest.raises(Unavailable, match="lost"):
            await guest.write(str(path), source())
    assert path.read_bytes() == b"old"


async def test_a_worker_that_does_not_come_back_is_given_up(cluster: Cluster) -> None:
    async with (
        asyncio.timeout(_DEADLINE_S),
        cluster.gateway(patience_s=0.5, connect_s=0.2) as remote,
        remote.executions.launch("box", sh("echo on; exec sleep 60")) as (execution, output),
    ):
        chunks = aiter(output)
        await anext(chunks)
        cluster.proxy.refuse()
        cluster.proxy.cut()
        with pytest.raises(Unavailable, match=f"{WORKER_ID} cannot be reached"):
            await anext(chunks)
    await cluster.proxy.heal()
    await cluster.remote.executions.kill(execution.id)


async def test_a_worker_that_cannot_be_reached_is_told_at_once(cluster: Cluster) -> None:
    cluster.proxy.refuse()
    async with asyncio.timeout(_DEADLINE_S), cluster.gateway(connect_s=0.2) as remote:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await remote.vms.stop("box")
        with pytest.raises(Unavailable, match="cannot be reached"):
            await remote.vms.metrics("box")
        assert await remote.executions.list("box") == []  # as last written


async def _cut_off_before_the_answer(cluster: Cluster, call: Awaitable[T], done: Path) -> T:
    """What a call gives whose answer is lost after the worker has done what was asked for."""
    await cluster.remote.vms.console("box")  # from here on there is a connection
    cluster.proxy.hold(Way.TO_CLIENT)
    calling = asyncio.ensure_future(call)
    await eventually(lambda: asyncio.to_thread(done.exists))
    cluster.proxy.cut()
    await cluster.proxy.heal()
    async with asyncio.timeout(_DEADLINE_S):
        return await calling


async def test_a_command_whose_start_is_repeated_runs_once(cluster: Cluster) -> None:
    flag = cluster.data_dir / "flag"
    start = cluster.remote.executions.start("box", sh(f"echo x >> {flag}; exec sleep 60"))
    started = await _cut_off_before_the_answer(cluster, start, flag)
    assert [each.id for each in await cluster.remote.executions.list("box")] == [started.id]
    assert flag.read_text() == "x\n"
    await cluster.remote.executions.kill(started.id)


async def test_a_change_whose_answer_was_lost_is_not_made_again(cluster: Cluster) -> None:
    ready, flag = cluster.data_dir / "ready", cluster.data_dir / "flag"
    script = f"trap 'echo x >> {flag}' USR1; touch {ready}; while :; do sleep 0.02; done"
    execution = await cluster.remote.executions.start("box", sh(script))
    await eventually(lambda: asyncio.to_thread(ready.exists))
    signal = cluster.remote.executions.signal(execution.id, 10)
    with pytest.raises(Unavailable, match="may have been done"):
        await _cut_off_before_the_answer(cluster, signal, flag)
    await cluster.remote.executions.kill(execution.id)
    await cluster.remote.executions.wait(execution.id)
    assert flag.read_text() == "x\n"


async def test_what_is_deleted_twice_is_deleted(cluster: Cluster) -> None:
    await cluster.remote.vms.console("box")  # from here on there is a connection
    cluster.proxy.hold(Way.TO_CLIENT)
    deleting = asyncio.ensure_future(cluster.remote.vms.delete("box"))

    async def gone() -> bool:
        return not await cluster.remote.vms.list()

    await eventually(gone)
    cluster.proxy.cut()
    await cluster.proxy.heal()
    async with asyncio.timeout(_DEADLINE_S):
        await deleting
