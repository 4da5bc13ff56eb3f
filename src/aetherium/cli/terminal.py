"""The terminal and the pipes of this process, without ever blocking the event loop.

Standard input and output are not made non-blocking: that would change them for every process that shares
them. Instead a write is at most as large as a writable pipe takes (PIPE_BUF), after asking whether it is
writable.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import stat
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from aetherium.domain.executions import TerminalSize

_PIECE = 32 * 1024
# Cursor visible, colours and modes as usual: what a program that was cut off may have changed.
_RESET = b"\x1b[?1049l\x1b[?25h\x1b[?2004l\x1b[0m"


def is_terminal() -> bool:
    """Whether somebody sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def size() -> TerminalSize:
    """Of this terminal; 24 by 80 if there is none."""
    try:
        found = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return TerminalSize()
    return TerminalSize(max(1, found.lines), max(1, found.columns))


@contextmanager
def raw() -> Iterator[None]:
    """Keys go through as they are; on leaving, however that comes, the terminal is as it was."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    clean = False
    try:
        tty.setraw(fd, termios.TCSADRAIN)  # what was typed already is kept
        yield
        clean = True
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        if not clean:
            os.write(sys.stdout.fileno(), _RESET)


@contextmanager
def on_resize(changed: Callable[[TerminalSize], None]) -> Iterator[None]:
    """Calls `changed` whenever the window gets another size."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, lambda: changed(size()))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


async def keys() -> AsyncIterator[bytes]:
    """Standard input as it comes, to its end."""
    fd = sys.stdin.fileno()
    while True:
        if not _always_ready(fd):
            await _ready(fd, write=False)
        data = os.read(fd, _PIECE)
        if not data:
            return
        yield data
        await asyncio.sleep(0)  # a file never makes us wait: let others run


async def write(fd: int, data: bytes) -> None:
    """Write all of `data`, at the reader's pace. Raises BrokenPipeError when nobody reads any more."""
    if _always_ready(fd):
        while data:
            data = data[os.write(fd, data) :]
        return
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    while data:
        while not poll.poll(0):
            await _ready(fd, write=True)
        data = data[os.write(fd, data[: select.PIPE_BUF]) :]


def _always_ready(fd: int) -> bool:
    """Files and /dev/null never make anybody wait, and epoll refuses them."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(fd))


async def _ready(fd: int, *, write: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    add(fd, ready.set)
    try:
        await ready.wait()
    finally:
        remove(fd)


def same_terminal(one: int, other: int) -> bool:
    """Whether what is written to both appears in one place."""
    if one == other:
        return True
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
