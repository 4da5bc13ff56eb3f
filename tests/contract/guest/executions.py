"""Commands: how they start, what they see, how they end."""

from __future__ import annotations

import asyncio

import pytest

from aetherium.channel import ChannelGuest
from aetherium.domain.errors import LimitExceeded
from aetherium.domain.executions import ExecutionLimits, ExecutionSpec, ExecutionState
from tests.contract.guest.base import (
    DEADLINE_S,
    Connect,
    ContractBase,
    output_until,
    refused,
    run,
    sh,
    unique,
)


class ExecutionContract(ContractBase):
    async def test_streams_and_exit_code(self, guest: ChannelGuest) -> None:
        result, stdout, stderr = await run(guest, sh("echo out; echo err >&2; exit 3"))
        assert (result.state, result.exit_code, result.signal) == (ExecutionState.EXITED, 3, None)
        assert (stdout, stderr) == (b"out\n", b"err\n")
        assert (result.stdout_bytes, result.stderr_bytes) == (4, 4)
        assert result.duration_s > 0

    async def test_end_by_signal(self, guest: ChannelGuest) -> None:
        result, _, _ = await run(guest, sh("kill -KILL $$"))
        assert (result.state, result.exit_code, result.signal) == (ExecutionState.SIGNALED, None, 9)
        assert result.shell_code == 137

    async def test_output_is_binary(self, guest: ChannelGuest, workdir: str) -> None:
        data = bytes(range(256)) * 2000
        await guest.write(f"{workdir}/data", data)
        _, stdout, _ = await run(guest, ExecutionSpec(("cat", f"{workdir}/data")))
        assert stdout == data

    async def test_output_is_streamed(self, guest: ChannelGuest, workdir: str) -> None:
        script = "echo first; while [ ! -e go ]; do sleep 0.02; done; echo second"
        async with guest.launch(unique(), sh(script, cwd=workdir)) as attachment:
            assert await output_until(attachment, b"first\n") == b"first\n"
            await guest.write(f"{workdir}/go", b"")
            assert await output_until(attachment, b"second\n") == b"second\n"

    async def test_no_such_program(self, guest: ChannelGuest) -> None:
        result, _, _ = await run(guest, ExecutionSpec(("no-such-program",)))
        assert result.state is ExecutionState.FAILED
        assert "no-such-program" in result.error
        assert result.shell_code == 127
        with refused("ENOENT"):
            await guest.start(unique(), ExecutionSpec(("no-such-program",)))

    async def test_not_executable(self, guest: ChannelGuest, workdir: str) -> None:
        await guest.write(f"{workdir}/plain", b"x")
        with refused("EACCES"):
            await guest.start(unique(), ExecutionSpec((f"{workdir}/plain",)))

    async def test_missing_directory_and_user(self, guest: ChannelGuest) -> None:
        result, _, _ = await run(guest, sh("true", cwd="/no/such/place"))
        assert result.state is ExecutionState.FAILED
        assert "/no/such/place" in result.error
        result, _, _ = await run(guest, sh("true", user="no-such-user"))
        assert result.state is ExecutionState.FAILED
        assert "no-such-user" in result.error

    async def test_environment(self, guest: ChannelGuest, workdir: str) -> None:
        spec = sh(
            "echo $A $B $HOME; pwd; umask",
            env={"A": "eins", "HOME": "/elsewhere"},
            secret_env={"B": "zwei"},
            cwd=workdir,
            umask=0o077,
        )
        _, stdout, _ = await run(guest, spec)
        assert stdout.decode().split() == ["eins", "zwei", "/elsewhere", workdir, "0077"]

    async def test_user(self, guest: ChannelGuest) -> None:
        _, stdout, _ = await run(
            guest, sh("id -u; id -g; id -G; grep -E 'CapEff|^Uid' /proc/self/status", user="nobody")
        )
        words = stdout.decode().split()
        assert words[0] == "65534"
        assert words[3:8] == ["Uid:", "65534", "65534", "65534", "65534"]
        assert int(words[9], 16) == 0
        _, stdout, _ = await run(guest, sh("id -u; id -g", user="12345:54321"))
        assert stdout == b"12345\n54321\n"
        _, stdout, _ = await run(guest, sh("id -u"))
        assert stdout == b"0\n"

    async def test_only_its_own_descriptors(self, guest: ChannelGuest) -> None:
        numbers = " ".join(str(number) for number in range(3, 50) if number != 10)  # the shell keeps 10
        script = f"for n in {numbers}; do [ ! -e /proc/$$/fd/$n ] || echo $n; done"
        _, stdout, _ = await run(guest, sh(script))
        assert stdout == b""

    async def test_timeout(self, guest: ChannelGuest) -> None:
        result, _, _ = await run(guest, sh("sleep 100", timeout_s=0.2))
        assert (result.state, result.signal) == (ExecutionState.TIMED_OUT, 15)
        assert result.shell_code == 124

    async def test_timeout_of_the_stubborn(self, guest: ChannelGuest) -> None:
        result, _, _ = await run(guest, sh("trap '' TERM; while :; do sleep 0.1; done", timeout_s=0.2))
        assert (result.state, result.signal) == (ExecutionState.TIMED_OUT, 9)

    async def test_signal_reaches_the_group(self, guest: ChannelGuest) -> None:
        child = "trap 'echo child; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
        execution = unique()
        async with guest.launch(
            execution, sh(f'trap "wait; exit 7" TERM; sh -c "{child}" & wait; wait')
        ) as attachment:
            await output_until(attachment, b"ready\n")
            await guest.signal(execution, 15)
            await output_until(attachment, b"child\n")
            assert (await attachment.result()).exit_code == 7
        with refused("ESRCH"):
            await guest.signal(execution, 15)

    async def test_kill_takes_the_children(self, guest: ChannelGuest) -> None:
        execution = unique()
        async with guest.launch(execution, sh("sleep 1000 & echo $!; wait")) as attachment:
            pid = int(await output_until(attachment, b"\n"))
            await guest.kill(execution)
            result = await attachment.result()
        assert result.state is ExecutionState.CANCELLED
        await self._gone(guest, pid)

    async def test_kill_takes_daemons(self, guest: ChannelGuest) -> None:
        if "cgroup" not in guest.info.capabilities:
            pytest.skip("this guest has no control groups, without which a daemon cannot be told from others")
        execution = unique()
        script = "(setsid sh -c 'sleep 1000 & echo $!' &) ; sleep 1000"
        async with guest.launch(execution, sh(script)) as attachment:
            pid = int(await output_until(attachment, b"\n"))
            await guest.kill(execution)
            await attachment.result()
        await self._gone(guest, pid)

    async def _gone(self, guest: ChannelGuest, pid: int) -> None:
        result, _, _ = await run(
            guest, sh(f"while kill -0 {pid} 2>/dev/null; do sleep 0.02; done", timeout_s=20)
        )
        assert result.ok, f"process {pid} lives on"

    async def test_background_process_does_not_hold_up_the_end(self, guest: ChannelGuest) -> None:
        execution = unique()
        async with asyncio.timeout(DEADLINE_S):
            result, stdout, _ = await guest.run(execution, sh("sleep 1000 & echo done"))
        assert (result.exit_code, stdout) == (0, b"done\n")
        await guest.kill(execution)

    async def test_a_late_kill_hits_nobody_else(self, guest: ChannelGuest) -> None:
        ended = unique()
        await guest.run(ended, sh("true"))
        async with guest.launch(unique(), sh("echo ready; read x; exit 3", stdin=True)) as attachment:
            await output_until(attachment, b"ready\n")
            await guest.kill(ended)
            await guest.ping()
            await attachment.write_stdin(b"\n")
            assert (await attachment.result()).exit_code == 3

    async def test_limits_of_the_process(self, guest: ChannelGuest, workdir: str) -> None:
        limits = ExecutionLimits(open_files=64, file_size_mib=1, cpu_s=1)
        _, stdout, _ = await run(guest, sh("ulimit -n", limits=limits))
        assert stdout == b"64\n"
        spec = ExecutionSpec(("head", "-c", "2000000", "/dev/zero"), limits=limits)
        result, _, _ = await run(guest, spec)
        assert result.ok
        result, _, _ = await run(
            guest, sh("exec head -c 2000000 /dev/zero > big", cwd=workdir, limits=limits)
        )
        assert not result.ok
        assert (await guest.stat(f"{workdir}/big")).size == 1 << 20
        result, _, _ = await run(guest, sh("while :; do :; done", limits=limits))
        assert result.signal in (9, 24)  # SIGXCPU

    async def test_limits_of_the_group(self, guest: ChannelGuest) -> None:
        if "cgroup" not in guest.info.capabilities:
            pytest.skip("this guest has no control groups to limit memory and processes")
        bomb = "a=x; while :; do a=$a$a; done"
        result, _, _ = await run(guest, sh(bomb, limits=ExecutionLimits(memory_mib=32)))
        assert result.oom
        assert result.signal == 9
        forks = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait"
        _, _, stderr = await run(guest, sh(forks, limits=ExecutionLimits(processes=4)))
        assert b"fork" in stderr.lower()

    async def test_start_is_idempotent(self, guest: ChannelGuest) -> None:
        execution = unique()
        pid = await guest.start(execution, sh("sleep 1000"))
        assert await guest.start(execution, sh("sleep 1000")) == pid
        await guest.kill(execution)

    async def test_list_and_forget(self, guest: ChannelGuest) -> None:
        execution = unique()
        await guest.start(execution, sh("read x", stdin=True))
        with refused("EEXIST"):
            await guest.forget(execution)
        async with guest.attach(execution) as attachment:
            await attachment.close_stdin()
            await attachment.result()
        status = {each.id: each for each in await guest.executions()}[execution]
        assert status.state is ExecutionState.EXITED
        await guest.forget(execution)
        assert execution not in {each.id for each in await guest.executions()}
        with refused("ENOENT"):
            await guest.forget(execution)
        with refused("ENOENT"):
            async with guest.attach(execution):
                raise AssertionError("attached to what was forgotten")

    async def test_several_attachments(self, connect: Connect, guest: ChannelGuest) -> None:
        execution, other = unique(), await connect()
        spec = sh("read x; echo $x; echo end", stdin=True)
        await guest.start(execution, spec)  # what is sent on two connections has no order
        async with (
            guest.launch(execution, spec) as first,
            other.attach(execution) as second,
            guest.attach(execution) as third,
        ):
            await second.write_stdin(b"hello\n")
            for each in (first, second, third):
                assert b"".join([chunk.data async for chunk in each]) == b"hello\nend\n"
                assert (await each.result()).ok

    async def test_attach_from_an_offset(self, guest: ChannelGuest) -> None:
        execution = unique()
        await guest.run(execution, sh("printf 0123456789; printf abcdef >&2"))
        async with guest.attach(execution, stdout_offset=4, stderr_offset=2) as attachment:
            found = {(chunk.stream.value, chunk.offset, chunk.data) async for chunk in attachment}
        assert found == {("stdout", 4, b"456789"), ("stderr", 2, b"cdef")}

    async def test_unfollowed_output_is_bounded(self, guest: ChannelGuest) -> None:
        execution, size = unique(), 3_000_000
        await guest.start(execution, sh(f"head -c {size} /dev/zero; echo end >&2", output_limit=100_000))
        async with guest.attach(execution, stdout_offset=size) as attachment:
            assert (await attachment.result()).stdout_bytes == size
        async with guest.attach(execution) as attachment:
            chunks = [chunk async for chunk in attachment if chunk.stream == "stdout"]
        assert chunks[0].offset >= size - 200_000
        assert sum(len(chunk.data) for chunk in chunks) == size - chunks[0].offset

    async def test_too_much_output(self, guest: ChannelGuest) -> None:
        execution = unique()
        with pytest.raises(LimitExceeded):
            await guest.run(execution, sh("while :; do echo endless; done"), output_cap=100_000)
        async with guest.attach(execution) as attachment:
            assert (await attachment.result()).state is ExecutionState.CANCELLED

    async def test_ping_and_metrics(self, guest: ChannelGuest) -> None:
        assert 0 < await guest.ping() < DEADLINE_S
        metrics = await guest.metrics()
        assert 0 < metrics.memory_available <= metrics.memory_total
        assert 0 <= metrics.disk_free <= metrics.disk_total
        assert metrics.processes > 0
        assert metrics.uptime_s > 0
