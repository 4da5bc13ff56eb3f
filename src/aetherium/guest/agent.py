"""The agent: what it knows of itself, and which function answers which request."""

import os
import sys
from errno import ENOSYS

from aetherium.guest.connection import HEARTBEAT_S, Connection, Stream
from aetherium.guest.executions import ExecutionTable
from aetherium.guest.loop import Loop
from aetherium.protocol import messages as m

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

VERSION = "1"
# Rarely needed modules are imported by the first request that needs them: (module, function).
_LAZY = {
    m.IDENTIFY: ("system", "identify"),
    m.METRICS: ("system", "metrics"),
    m.POWER_OFF: ("system", "power_off"),
    m.FILE_READ: ("transfers", "read"),
    m.FILE_WRITE: ("transfers", "write"),
    m.FILE_STAT: ("files", "stat"),
    m.FILE_LIST: ("files", "list_directory"),
    m.FILE_MKDIR: ("files", "mkdir"),
    m.FILE_MOVE: ("files", "move"),
    m.FILE_REMOVE: ("files", "remove"),
    m.FILE_CHMOD: ("files", "chmod"),
    m.FILE_WATCH: ("helpers", "watch"),
    m.ARCHIVE_OUT: ("helpers", "archive_out"),
    m.ARCHIVE_IN: ("helpers", "archive_in"),
}


class Agent:
    """Everything that connections share.

    Args:
        init: the agent is process 1: it reaps orphans and may power off.
        cgroup: directory of a cgroup v2 that the agent may manage, or empty.
    """

    def __init__(self, loop: Loop, *, init: bool, cgroup: str) -> None:
        self.loop = loop
        self.init = init
        self.executions = ExecutionTable(loop, cgroup)
        self.connections: list[Connection] = []
        self.children: dict[int, Callable[[int], None]] = {}
        self._methods: dict[str, Callable[[Agent, Stream, dict[str, Any]], None]] = {
            m.PING: lambda agent, stream, params: stream.respond({}),
            m.EXEC_START: lambda agent, stream, params: self.executions.start(stream, params),
            m.EXEC_RUN: lambda agent, stream, params: self.executions.run(stream, params),
            m.EXEC_ATTACH: lambda agent, stream, params: self.executions.attach(stream, params),
            m.EXEC_SIGNAL: lambda agent, stream, params: self.executions.signal(stream, params),
            m.EXEC_KILL: lambda agent, stream, params: self.executions.kill(stream, params),
            m.EXEC_RESIZE: lambda agent, stream, params: self.executions.resize(stream, params),
            m.EXEC_LIST: lambda agent, stream, params: self.executions.list(stream),
            m.EXEC_FORGET: lambda agent, stream, params: self.executions.forget(stream, params),
        }
        loop.after_turn = self._after_turn
        loop.later(HEARTBEAT_S, self._heartbeat)

    def add(self, fd: int, *, port: bool) -> None:
        """Serve the client behind `fd`."""
        os.set_blocking(fd, False)
        self.connections.append(Connection(self, self.loop, fd, port=port, gone=self.connections.remove))

    def dispatch(self, stream: Stream, method: str, params: "dict[str, Any]") -> None:
        """Answer a request. What it raises becomes the stream's FAILURE."""
        function = self._methods.get(method)
        if function is None:
            if method not in _LAZY:
                raise OSError(ENOSYS, f"this agent has no method {method!r}")
            module, name = _LAZY[method]
            loaded = __import__(f"aetherium.guest.{module}", None, None, (name,))
            function = self._methods[method] = getattr(loaded, name)
        function(self, stream, params)

    def info(self) -> "dict[str, Any]":
        """The payload of INFO."""
        capabilities = ["pty", "files", "archive", "watch"]
        if self.executions.cgroup:
            capabilities.append("cgroup")
        if self.init:
            capabilities.append("init")
        return {
            "agent": VERSION,
            "boot_id": read_text("/proc/sys/kernel/random/boot_id"),
            "kernel": os.uname().release,
            "capabilities": capabilities,
        }

    def reap(self) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            helper = self.children.pop(pid, None)
            if helper is not None:
                helper(status)
            else:
                self.executions.ended(pid, status, usage)

    def _after_turn(self) -> bool:
        busy = False
        for connection in tuple(self.connections):
            try:
                busy = connection.flush() or busy
            except Exception as error:
                sys.stderr.write(f"aetherium: connection: {error!r}\n")
                connection.lose()
        return busy

    def _heartbeat(self) -> None:
        self.loop.later(HEARTBEAT_S, self._heartbeat)
        for connection in tuple(self.connections):
            connection.heartbeat()


def read_text(path: str) -> str:
    """The first 64 KiB of a small text file, stripped; empty if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 65536).decode("utf-8", "replace").strip()
    except OSError:
        return ""
    finally:
        os.close(fd)
