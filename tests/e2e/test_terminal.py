"""`vm shell` and `vm exec -it` in a terminal of their own."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aetherium import process
from tests.e2e.conftest import CLI, DEADLINE_S


class Terminal:
    """Both ends of a terminal, and the command that sits in it."""

    def __init__(self, master: int, slave: int) -> None:
        self.master, self.slave = master, slave
        self.child: asyncio.subprocess.Process | None = None
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def modes(self) -> list[object]:
        return list(termios.tcgetattr(self.slave))

    async def until(self, text: bytes) -> None:
        """Wait for `text` on the screen."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(DEADLINE_S):
            while text not in self.seen:
                ready = asyncio.Event()
                loop.add_reader(self.master, ready.set)
                try:
                    await ready.wait()
                finally:
                    loop.remove_reader(self.master)
                self.seen += os.read(self.master, 65536)


@asynccontextmanager
async def terminal(cli: CLI, *words: str) -> AsyncIterator[Terminal]:
    """A command in a terminal of 30 by 90 characters."""
    master, slave = pty.openpty()
    try:
        there = Terminal(master, slave)
        there.resize(30, 90)
        with os.fdopen(os.dup(slave), "r+b", buffering=0) as end:
            async with process.spawned(
                cli.argv(*words), env=cli.env(TERM="xterm"), stdin=end, stdout=end, stderr=end
            ) as child:
                there.child = child
                yield there
    finally:
        os.close(master)
        os.close(slave)


async def test_a_shell_has_the_windows_size_and_leaves_the_terminal_as_it_was(served: CLI) -> None:
    vm = (await served.json("vm", "create"))["id"]
    async with terminal(served, "vm", "shell", vm, "-w", "/") as there:
        before = there.modes()
        there.type(b"echo si''ze; stty size; tty; pwd\n")
        await there.until(b"30 90")
        assert there.modes() != before
        there.resize(40, 120)
        assert there.child is not None
        there.child.send_signal(signal.SIGWINCH)
        there.type(b"while [ \"$(stty size)\" != '40 120' ]; do :; done; echo wi''der\n")
        await there.until(b"wider")
        there.type(b"exit 5\n")
        async with asyncio.timeout(DEADLINE_S):
            assert await there.child.wait() == 5
        assert there.modes() == before


async def test_ctrl_c_goes_to_the_guest_and_ctrl_bracket_leaves(served: CLI) -> None:
    vm = (await served.json("vm", "create"))["id"]
    script = "trap 'echo cau''ght' INT; echo rea''dy; while :; do sleep 0.05; done"
    async with terminal(served, "vm", "exec", "-it", vm, "--", "sh", "-c", script) as there:
        before = there.modes()
        await there.until(b"ready")
        there.type(b"\x03")
        await there.until(b"caught")
        there.type(b"\x1d")
        assert there.child is not None
        async with asyncio.timeout(DEADLINE_S):
            assert await there.child.wait() == 0
        assert there.modes() == before


async def test_a_terminated_session_restores_the_terminal(served: CLI) -> None:
    vm = (await served.json("vm", "create"))["id"]
    async with terminal(served, "vm", "exec", "-it", vm, "sh", "-c", "echo rea''dy; sleep 60") as there:
        before = there.modes()
        await there.until(b"ready")
        assert there.child is not None
        for _ in range(3):  # passed on, kills, leaves
            there.child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            assert await there.child.wait() != 0
        assert there.modes() == before


async def test_tables_have_colours_and_progress_on_a_terminal_only(served: CLI) -> None:
    await served("vm", "create", "--name", "colourful")
    async with terminal(served, "vm", "list") as there:
        await there.until(b"colourful")
        await there.until(b"\x1b[")
    assert b"\x1b[" not in (await served("vm", "list")).stdout
