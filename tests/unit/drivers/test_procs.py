"""Processes, told apart by pid and start time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from aetherium.drivers import procs
from aetherium.process import spawned

SLEEPER = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
PIPE = asyncio.subprocess.PIPE


async def test_sees_the_end_of_a_process(tmp_path: Path) -> None:
    async with spawned(SLEEPER, stdin=PIPE, stdout=PIPE, cwd=tmp_path) as process:
        assert process.stdout is not None
        await process.stdout.readline()
        started = procs.start_time(process.pid)
        assert started is not None
        assert procs.alive(process.pid, started)
        assert not procs.alive(process.pid, started + 1)
        assert procs.find(tmp_path, "python") == [process.pid]
        assert procs.find(tmp_path, "qemu") == []
        assert procs.pss_bytes(process.pid) > 0
        assert not await procs.wait_end(process.pid, started, 0.01)
        assert await procs.wait_end(process.pid, started + 1, None)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(procs.wait_end(process.pid, started, None))
            await asyncio.sleep(0)
            os.kill(process.pid, signal.SIGKILL)
            async with asyncio.timeout(0.5):
                assert await waiting
        assert not procs.alive(process.pid, started)
    assert procs.start_time(process.pid) is None
    assert procs.cpu_s(process.pid) == 0
    assert procs.pss_bytes(process.pid) == 0
    assert await procs.wait_end(process.pid, started, None)


async def test_finds_a_process_whose_directory_is_gone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    async with spawned(SLEEPER, stdin=PIPE, stdout=PIPE, cwd=home) as process:
        assert process.stdout is not None
        await process.stdout.readline()
        home.rmdir()
        assert procs.find(home, "python") == [process.pid]


async def test_finds_descendants() -> None:
    # A shell gives /dev/null to what runs in the background.
    script = f"exec 3<&0; {sys.executable} -c 'import sys; print(1, flush=True); sys.stdin.read()' <&3 & wait"
    async with spawned(["sh", "-c", script], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"1\n"
        children = procs.descendants(process.pid)
        assert len(children) == 1
        assert not procs.stopped(children[0])
