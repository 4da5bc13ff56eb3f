"""Locks between tasks and processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aetherium.domain.errors import Conflict
from aetherium.services.locks import FileLocks


def left(directory: Path) -> list[str]:
    """What lies there."""
    return [path.name for path in directory.iterdir()]


async def test_one_at_a_time_and_nothing_left(tmp_path: Path) -> None:
    # Two FileLocks are like two processes: they share nothing but the files.
    tables, inside, most = [FileLocks(tmp_path), FileLocks(tmp_path)], 0, 0

    async def work(locks: FileLocks) -> None:
        nonlocal inside, most
        for _ in range(10):
            async with locks.hold("vm_1"):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

    await asyncio.gather(*(work(tables[n % 2]) for n in range(6)))
    assert most == 1
    assert left(tmp_path) == []


async def test_waiting_ends(tmp_path: Path) -> None:
    async with FileLocks(tmp_path).hold("vm_1"):
        assert not FileLocks(tmp_path).free("vm_1")
        with pytest.raises(Conflict, match="changing vm_1"):
            async with FileLocks(tmp_path).hold("vm_1", timeout_s=0.05):
                pass
    assert FileLocks(tmp_path).free("vm_1")
    assert left(tmp_path) == []


async def test_a_timeout_of_the_block_is_its_own(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        async with FileLocks(tmp_path).hold("vm_1"):
            raise TimeoutError
    assert FileLocks(tmp_path).free("vm_1")


async def test_a_cancelled_waiter_leaves_the_lock_to_others(tmp_path: Path) -> None:
    locks = FileLocks(tmp_path)

    async def wait() -> None:
        async with locks.hold("vm_1"):
            pass

    async with locks.hold("vm_1"):
        waiter = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
    async with asyncio.timeout(2), locks.hold("vm_1"):
        pass
