"""The helper that starts processes on the host."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from aetherium.domain.errors import DeadlineExceeded, ToolMissing
from aetherium.process import ProcessFailed, daemon, run, spawned
from tests.fixtures.waiting import eventually


def gone(pid: int) -> bool:
    """Whether there is no process of that number, not even a zombie."""
    return not Path(f"/proc/{pid}").exists()


async def test_output_and_exit_code() -> None:
    done = await run(["sh", "-c", "cat; echo wrong >&2; exit 3"], stdin=b"in", check=False)
    assert (done.exit_code, done.stdout, done.stderr) == (3, b"in", b"wrong\n")
    with pytest.raises(ProcessFailed, match="exit code 3: wrong"):
        await run(["sh", "-c", "echo wrong >&2; exit 3"])


async def test_a_tool_that_is_missing_is_named_with_its_package() -> None:
    with pytest.raises(ToolMissing, match="no-such-tool"):
        await run(["no-such-tool"])


async def test_a_timeout_ends_the_children_too(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(DeadlineExceeded):
        await run(["sh", "-c", f"sleep 1000 & echo $! >{note}; wait"], timeout_s=0.5)

    async def ended() -> bool:
        return gone(int(note.read_text()))

    await eventually(ended)


async def test_nothing_outlives_the_block() -> None:
    async with spawned(["sleep", "1000"]) as process:
        pid = process.pid
    assert gone(pid)


async def test_a_daemon_has_its_place_and_leaves_no_zombie(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    log = tmp_path / "log"
    try:
        script = f"echo out; echo err >&2; pwd >/proc/self/fd/{writing}; exec sleep 1000"
        pid = await daemon(
            ["sh", "-c", script], cwd=tmp_path, log=log, pass_fds=[writing], env={"PATH": "/bin"}
        )
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(os.read, reading, 4096) == f"{tmp_path}\n".encode()
        assert os.getsid(pid) == pid
        assert log.read_text() == "out\nerr\n"
        os.kill(pid, signal.SIGKILL)

        async def reaped() -> bool:
            return gone(pid)

        await eventually(reaped)
    finally:
        os.close(reading)
        os.close(writing)
