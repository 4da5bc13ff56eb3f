"""Executions over the fake driver."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from aetherium.domain.errors import Conflict, LimitExceeded, NotFound
from aetherium.domain.executions import ExecutionSpec, ExecutionState
from aetherium.domain.guest import OutputStream
from aetherium.domain.images import ImageConfig
from aetherium.domain.vms import VMSpec
from tests.fixtures.platform import data_dir, fake_platform, tiny_images
from tests.fixtures.waiting import eventually

__all__ = ["data_dir"]

SAID = "open-sesame"


def shell(script: str, **more: object) -> ExecutionSpec:
    """A command for sh."""
    return ExecutionSpec(("sh", "-c", script), **more)  # type: ignore[arg-type]  # whatever the field is


def stored(data_dir: Path) -> bytes:
    """All that the database's files hold."""
    return b"".join(file.read_bytes() for file in data_dir.glob("aetherium.db*"))


async def test_results_outputs_and_rows(data_dir: Path) -> None:
    async with fake_platform(data_dir) as platform:
        vm = await platform.vms.create(VMSpec())
        execution, out, err = await platform.executions.run(
            vm.id, shell("cat; echo e >&2; exit 3"), stdin=b"in"
        )
        assert (out, err) == (b"in", b"e\n")
        assert execution.result is not None
        assert (execution.state, execution.result.exit_code) == (ExecutionState.EXITED, 3)
        assert await platform.executions.get(execution.id) == execution
        assert await platform.executions.list(vm.id) == [execution]
        failed, _, _ = await platform.executions.run(vm.id, ExecutionSpec(("/no/such/program",)))
        assert failed.state is ExecutionState.FAILED
        assert failed.result is not None
        assert failed.result.error
        started = await platform.executions.start(vm.id, ExecutionSpec(("/no/such/program",)))
        assert started.state is ExecutionState.FAILED
        with pytest.raises(NotFound):
            await platform.executions.get("ex_0000000000000000")
        with pytest.raises(NotFound):
            await platform.executions.run("nothing", shell("true"))


async def test_an_execution_is_found_again_by_the_next_process(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as platform:
        vm = await platform.vms.create(VMSpec())
        execution = await platform.executions.start(
            vm.id, shell("echo first; read x; echo $x; exit 7", stdin=True)
        )
        quick = await platform.executions.start(vm.id, shell("echo quick; exit 5"))
        assert execution.state is ExecutionState.RUNNING
    async with fake_platform(data_dir, background=False) as platform:
        assert (await platform.executions.get(execution.id)).state is ExecutionState.RUNNING

        async def ended() -> bool:
            return (await platform.executions.get(quick.id)).state is ExecutionState.EXITED

        await eventually(ended)
        output = b""
        async with platform.executions.attach(execution.id) as attachment:
            await attachment.write_stdin(b"second\n")
            async for chunk in attachment:
                output += chunk.data
        assert output == b"first\nsecond\n"
        done = await platform.executions.wait(execution.id)
        assert done.result is not None
        assert done.result.exit_code == 7
        async with platform.executions.attach(quick.id, stdout_offset=2) as attachment:
            assert [chunk.data async for chunk in attachment] == [b"ick\n"]


async def test_output_is_masked_and_rows_have_no_values(data_dir: Path) -> None:
    async with fake_platform(data_dir) as platform:
        vm = await platform.vms.create(VMSpec())
        spec = shell("printf 'a:open-'; sleep 0.05; printf 'sesame:b'; echo $S >&2", secret_env={"S": SAID})
        hidden = b"*" * len(SAID)
        execution, out, err = await platform.executions.run(vm.id, spec)
        assert (out, err) == (b"a:" + hidden + b":b", hidden + b"\n")
        async with platform.executions.launch(vm.id, spec) as (launched, attachment):
            chunks = [chunk async for chunk in attachment if chunk.stream is OutputStream.STDOUT]
        assert b"".join(chunk.data for chunk in chunks) == out
        assert chunks[-1].offset + len(chunks[-1].data) == len(out)
        async with platform.executions.attach(launched.id, stdout_offset=5) as attachment:
            again = [chunk async for chunk in attachment if chunk.stream is OutputStream.STDOUT]
        assert (again[0].offset, b"".join(chunk.data for chunk in again)) == (5, out[5:])
        await platform.executions.list(vm.id)
        assert execution.secret_names == ("S",)
    assert SAID.encode() not in stored(data_dir)
    async with fake_platform(data_dir) as platform:
        with pytest.raises(Conflict, match="another process"):
            async with platform.executions.attach(launched.id):
                pass
        assert (await platform.executions.get(launched.id)).state is ExecutionState.EXITED


async def test_a_cancelled_run_is_killed(data_dir: Path) -> None:
    async with fake_platform(data_dir) as platform:
        vm = await platform.vms.create(VMSpec())
        flag = data_dir / "flag"
        task = asyncio.ensure_future(platform.executions.run(vm.id, shell(f"touch {flag}; sleep 60")))
        await eventually(lambda: asyncio.to_thread(flag.exists))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (row,) = await platform.executions.list(vm.id)
        assert row.state is ExecutionState.CANCELLED


async def test_signals_kills_and_too_much_output(data_dir: Path) -> None:
    async with fake_platform(data_dir, output_mib=1) as platform:
        vm = await platform.vms.create(VMSpec())
        execution = await platform.executions.start(vm.id, ExecutionSpec(("sleep", "60")))
        await platform.executions.signal(execution.id, signal.SIGTERM)
        ended = await platform.executions.wait(execution.id)
        assert ended.result is not None
        assert (ended.state, ended.result.signal) == (ExecutionState.SIGNALED, signal.SIGTERM)
        execution = await platform.executions.start(vm.id, ExecutionSpec(("sleep", "60")))
        await platform.executions.kill(execution.id)
        assert (await platform.executions.wait(execution.id)).state is ExecutionState.CANCELLED
        with pytest.raises(LimitExceeded):
            await platform.executions.run(vm.id, ExecutionSpec(("yes",)))


async def test_what_the_image_says_is_the_default(data_dir: Path) -> None:
    config = ImageConfig(user="", env={"A": "image", "B": "image", "C": "image"}, workdir="/usr")
    await tiny_images(data_dir / "images", "other", config=config)
    async with fake_platform(data_dir) as platform:
        vm = await platform.vms.create(VMSpec(image="other", env={"B": "vm", "C": "vm"}))
        spec = shell("echo $A $B $C; pwd", env={"C": "execution"})
        assert (await platform.executions.run(vm.id, spec))[1] == b"image vm execution\n/usr\n"


async def test_many_at_once(data_dir: Path) -> None:
    async with fake_platform(data_dir) as platform:
        vm = await platform.vms.create(VMSpec())
        done = await asyncio.gather(*(platform.executions.run(vm.id, shell(f"echo {n}")) for n in range(40)))
        assert [int(out) for _, out, _ in done] == list(range(40))
        rows = await platform.executions.list(vm.id)
        assert len(rows) == 40
        assert {row.state for row in rows} == {ExecutionState.EXITED}
