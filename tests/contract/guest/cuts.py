"""Lost connections, load, and slow readers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aetherium.channel import ChannelGuest
from aetherium.domain.executions import ExecutionSpec
from tests.contract.guest.base import DEADLINE_S, Connect, ContractBase, output_until, run, sh, unique

MIB = 1 << 20


class CutContract(ContractBase):
    async def test_output_goes_on_after_cuts(self, guest: ChannelGuest) -> None:
        script = "i=0; while [ $i -lt 60000 ]; do echo line $i; i=$((i+1)); done"
        seen, chunks = bytearray(), 0
        async with asyncio.timeout(DEADLINE_S * 2), guest.launch(unique(), sh(script)) as attachment:
            async for chunk in attachment:
                assert chunk.offset == len(seen)
                seen += chunk.data
                chunks += 1
                if chunks in (1, 4, 9):
                    guest.disconnect()
        assert bytes(seen) == b"".join(b"line %d\n" % number for number in range(60000))

    async def test_execution_outlives_its_client(self, connect: Connect, workdir: str) -> None:
        execution, first = unique(), await connect()
        script = "echo before; while [ ! -e go ]; do sleep 0.02; done; echo after"
        async with first.launch(execution, sh(script, cwd=workdir)) as attachment:
            await output_until(attachment, b"before\n")
            await first.close()
        second = await connect()
        await second.write(f"{workdir}/go", b"")
        async with second.attach(execution, stdout_offset=7) as attachment:
            assert await output_until(attachment, b"\n") == b"after\n"
            assert (await attachment.result()).ok

    async def test_calls_work_after_a_cut(self, guest: ChannelGuest, workdir: str) -> None:
        data = bytes(range(256)) * 8000
        await guest.write(f"{workdir}/data", data)
        seen = bytearray()
        async for piece in guest.read(f"{workdir}/data"):
            if len(seen) < 100_000:
                guest.disconnect()
            seen += piece
        assert bytes(seen) == data
        guest.disconnect()
        assert (await guest.stat(f"{workdir}/data")).size == len(data)


class LoadContract(ContractBase):
    async def test_two_hundred_at_once(self, guest: ChannelGuest) -> None:
        all_run = asyncio.Barrier(200)

        async def one(number: int) -> tuple[int | None, bytes]:
            spec = sh("echo $N; read x; exit $((N % 7))", stdin=True, env={"N": str(number)})
            async with guest.launch(unique(), spec) as attachment:
                seen = await output_until(attachment, b"\n")
                await all_run.wait()
                await attachment.close_stdin()
                return (await attachment.result()).exit_code, seen

        async with asyncio.timeout(DEADLINE_S * 3), asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number)) for number in range(200)]
        assert [task.result() for task in tasks] == [(n % 7, b"%d\n" % n) for n in range(200)]

    async def test_slow_reader_costs_no_memory(self, guest: ChannelGuest) -> None:
        size = 100 * MIB
        before = await self._agent_rss_kib(guest), _rss_kib()
        total, peak = 0, (0, 0)
        spec = ExecutionSpec(("head", "-c", str(size), "/dev/zero"))
        async with asyncio.timeout(DEADLINE_S * 4), guest.launch(unique(), spec) as attachment:
            async for chunk in attachment:
                if total == 0:
                    # Nothing is read meanwhile: what the command writes has to stop somewhere.
                    for _ in range(100):
                        await guest.ping()
                    peak = await self._agent_rss_kib(guest), _rss_kib()
                total += len(chunk.data)
            assert (await attachment.result()).ok
        assert total == size
        after = await self._agent_rss_kib(guest), _rss_kib()
        for agent, host in (peak, after):
            assert agent - before[0] < 16 * 1024
            assert host - before[1] < 16 * 1024

    async def _agent_rss_kib(self, guest: ChannelGuest) -> int:
        """Resident memory of the agent, the parent of every command."""
        _, stdout, _ = await run(guest, sh("grep VmRSS /proc/$PPID/status"))
        return int(stdout.split()[1])


def _rss_kib() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0])
