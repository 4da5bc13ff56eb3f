"""Code in a VM does its worst: it is reported for what it is; its agent, other VMs and the host are well."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aetherium.domain.errors import LimitExceeded
from aetherium.domain.executions import ExecutionLimits, ExecutionSpec, ExecutionState
from aetherium.domain.ids import EXECUTION, new_id
from tests.fixtures.vms import Fork, RunningVM

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

# A neighbour that shares two processors with a VM that burns its own answers a bit later than usual.
NEIGHBOUR_S = 10.0
FORK_BOMB = "bomb() { bomb | bomb & }; bomb; wait; sleep 1000"
# Takes what there is in small pieces; one that asks for much at once is refused, and told so by Python.
MEMORY_BOMB = ("python3", "-c", "a = []\nwhile True: a.append(bytearray(b'x') * (1 << 20))")


@pytest.fixture
async def neighbour(fork: Fork) -> RunningVM:
    return await fork()


@asynccontextmanager
async def unharmed(neighbour: RunningVM) -> AsyncIterator[None]:
    """During and after the block another VM works, and this process has neither grown nor left files open."""
    files, memory = _open_files(), _resident_mib()
    assert await _answers(neighbour) < NEIGHBOUR_S
    yield
    assert await _answers(neighbour) < NEIGHBOUR_S
    assert _open_files() <= files + 2
    assert _resident_mib() < memory + 64


async def _answers(vm: RunningVM) -> float:
    began = time.monotonic()
    result, output, _ = await vm.sh("echo well")
    assert (result.exit_code, output) == (0, b"well\n")
    return time.monotonic() - began


def _open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


async def test_a_fork_bomb(vm: RunningVM, neighbour: RunningVM) -> None:
    async with unharmed(neighbour):
        bomb = new_id(EXECUTION)
        await vm.guest.start(bomb, ExecutionSpec(("/bin/sh", "-c", FORK_BOMB)))
        async with vm.guest.attach(bomb) as attachment:
            said = b""
            async with asyncio.timeout(120):
                async for (
                    chunk
                ) in attachment:  # the shell's complaint is what shows that the bomb has filled up
                    said += chunk.data
                    if b"fork" in said:
                        break
            assert await _answers(neighbour) < NEIGHBOUR_S
            async with asyncio.timeout(60):
                assert await vm.guest.ping() < 30
                await vm.guest.kill(bomb)
                assert (await attachment.result()).state is ExecutionState.CANCELLED
    async with asyncio.timeout(60):
        result, output, _ = await vm.sh("ls -d /proc/[0-9]* | wc -l")
    assert result.ok
    assert int(output) < 200, "all of the bomb's processes are gone"


async def test_a_fork_bomb_under_a_limit_of_its_own(vm: RunningVM, neighbour: RunningVM) -> None:
    spec = ExecutionSpec(("/bin/sh", "-c", FORK_BOMB), limits=ExecutionLimits(processes=30), timeout_s=5.0)
    async with unharmed(neighbour):
        result, _, said = await vm.guest.run(new_id(EXECUTION), spec)
    assert not result.ok
    assert b"Cannot fork" in said
    assert await _answers(vm) < NEIGHBOUR_S


async def test_a_memory_bomb(vm: RunningVM, neighbour: RunningVM) -> None:
    async with unharmed(neighbour), asyncio.timeout(120):
        result, _, _ = await vm.guest.run(new_id(EXECUTION), ExecutionSpec(MEMORY_BOMB))
    assert result.state is ExecutionState.SIGNALED
    assert result.oom
    assert await _answers(vm) < NEIGHBOUR_S


async def test_a_memory_bomb_under_a_limit_of_its_own(vm: RunningVM, neighbour: RunningVM) -> None:
    spec = ExecutionSpec(MEMORY_BOMB, limits=ExecutionLimits(memory_mib=64))
    async with unharmed(neighbour), asyncio.timeout(120):
        other = asyncio.ensure_future(vm.sh("sleep 2; echo still here"))
        result, _, _ = await vm.guest.run(new_id(EXECUTION), spec)
        assert (await other)[1] == b"still here\n"
    assert result.oom


async def test_an_endless_writer_that_somebody_reads(vm: RunningVM, neighbour: RunningVM) -> None:
    async with unharmed(neighbour), asyncio.timeout(120):
        with pytest.raises(LimitExceeded):
            await vm.guest.run(new_id(EXECUTION), ExecutionSpec(("yes",)), output_cap=32 << 20)
    assert await _answers(vm) < NEIGHBOUR_S


async def test_an_endless_writer_that_nobody_reads(vm: RunningVM, neighbour: RunningVM) -> None:
    writer = new_id(EXECUTION)
    async with unharmed(neighbour), asyncio.timeout(120):
        await vm.guest.start(writer, ExecutionSpec(("yes",), output_limit=1 << 16))
        while next(each for each in await vm.guest.executions() if each.id == writer).stdout_bytes < 8 << 20:
            assert await _answers(vm) < NEIGHBOUR_S
        await vm.guest.kill(writer)
        async with vm.guest.attach(writer) as attachment:
            kept = [chunk async for chunk in attachment]
            assert (await attachment.result()).state is ExecutionState.CANCELLED
    assert sum(len(chunk.data) for chunk in kept) <= (1 << 16) + 4096
    assert kept[0].offset > 0, "what was dropped shows as a gap"


async def test_two_hundred_executions_at_once(vm: RunningVM, neighbour: RunningVM) -> None:
    async def one(number: int) -> bytes:
        spec = ExecutionSpec(("/bin/sh", "-c", f"echo {number}; exit {number % 7}"))
        result, output, _ = await vm.guest.run(new_id(EXECUTION), spec)
        assert result.exit_code == number % 7
        return output

    async with unharmed(neighbour), asyncio.timeout(200):
        outputs = await asyncio.gather(*map(one, range(200)))
    assert outputs == [b"%d\n" % number for number in range(200)]
