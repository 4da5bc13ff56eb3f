"""The driver ``fake``: the real guest agent as an ordinary process of this host.

Frames, executions, files and terminals are real and start in a tenth of a second. There is NO isolation: what
runs "in the VM" runs on this host as this user. It is for tests, and is never chosen unless named.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aetherium import process
from aetherium.domain.errors import BootFailed, Conflict, Unavailable, Unsupported, VMFailed
from aetherium.domain.guest import GuestEndpoint, UnixEndpoint
from aetherium.domain.vms import Capability, NetworkMode
from aetherium.drivers import directories, procs
from aetherium.interfaces.drivers import (
    Condition,
    DriverProbe,
    Inspection,
    Launch,
    SnapshotData,
    VMDriver,
    VMHandle,
)

NAME = "fake"
HANDLE_VERSION = 1
_SOCKET = "agent.sock"
_CONSOLE = "console.log"
_CAPABILITIES = frozenset({Capability.EXEC, Capability.FILES, Capability.PTY, Capability.PAUSE})


class FakeDriver:
    """See interfaces/drivers.py.

    Args:
        root: directory of the VMs' directories.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def name(self) -> str:
        return NAME

    async def probe(self) -> DriverProbe:
        """It works everywhere."""
        return DriverProbe(True, _CAPABILITIES, "An ordinary process, without isolation: for tests only.")

    async def start(self, launch: Launch) -> VMHandle:
        """Start an agent."""
        if launch.network.mode is not NetworkMode.NONE:
            raise Unsupported(Capability.NETWORK_POLICY, NAME, hint="Use the network mode 'none'.")
        async with self._new(launch.vm_id) as home:
            argv = [
                sys.executable,
                "-m",
                "aetherium.guest",
                "--listen",
                f"unix:{_SOCKET}",
                "--cgroup",
                "none",
            ]
            pid = await process.daemon(argv, cwd=home, log=home / _CONSOLE)
            started = procs.start_time(pid)
            if started is None:
                raise BootFailed("The agent ended at once.")
            return VMHandle(NAME, launch.vm_id, HANDLE_VERSION, {"pid": pid, "start_time": started})

    async def restore(self, launch: Launch, snapshot: SnapshotData, directory: Path) -> VMHandle:
        """Not possible for a process."""
        raise Unsupported(Capability.FORK, NAME)

    async def recover(self, handle: VMHandle) -> Inspection:
        """Nothing but the handle is needed to go on."""
        return await self.inspect(handle)

    async def inspect(self, handle: VMHandle) -> Inspection:
        """Live facts."""
        home, pid, started = self._identify(handle)
        if not procs.alive(pid, started):
            return _ended(home)
        condition = Condition.PAUSED if procs.stopped(pid) else Condition.RUNNING
        return Inspection(condition, "", pid, procs.cpu_s(pid), procs.pss_bytes(pid), 0)

    async def wait(self, handle: VMHandle) -> Inspection:
        """Return when the agent has ended."""
        home, pid, started = self._identify(handle)
        await procs.wait_end(pid, started, None)
        return _ended(home)

    async def endpoints(self, handle: VMHandle) -> Sequence[GuestEndpoint]:
        """The agent's socket."""
        home, _, _ = self._identify(handle)
        return [UnixEndpoint(str(home / _SOCKET))]

    async def console(self, vm_id: str, *, max_bytes: int = 65536) -> bytes:
        """What the agent wrote to stderr."""
        return await asyncio.to_thread(_tail, directories.of(self._root, vm_id) / _CONSOLE, max_bytes)

    async def pause(self, handle: VMHandle) -> None:
        """SIGSTOP to the agent and all that it has started."""
        self._signal(handle, signal.SIGSTOP)

    async def resume(self, handle: VMHandle) -> None:
        """SIGCONT to the same."""
        self._signal(handle, signal.SIGCONT)

    async def snapshot(self, handle: VMHandle, directory: Path) -> SnapshotData:
        """Not possible for a process."""
        raise Unsupported(Capability.SNAPSHOT, NAME)

    async def stop(self, handle: VMHandle, *, grace_s: float = 0.0) -> None:
        """End the agent and all that it has started."""
        _, pid, started = self._identify(handle)
        if grace_s > 0 and await procs.wait_end(pid, started, grace_s):
            return
        if procs.alive(pid, started):
            await _kill(pid)

    async def delete(self, vm_id: str) -> None:
        """Remove every trace, whoever started it."""
        home = directories.of(self._root, vm_id)
        await _kill_all(home)
        await asyncio.to_thread(directories.remove, home)
        await _kill_all(home)

    async def owned(self) -> Sequence[str]:
        """All VMs that have a directory."""
        return directories.owned(self._root)

    def _identify(self, handle: VMHandle) -> tuple[Path, int, int]:
        if handle.driver != NAME or handle.version != HANDLE_VERSION:
            raise Unsupported("recover", NAME, message=f"The handle of {handle.vm_id} is not of this driver.")
        pid, started = handle.data.get("pid"), handle.data.get("start_time")
        if not isinstance(pid, int) or not isinstance(started, int):
            raise VMFailed(f"The handle of {handle.vm_id} is damaged.", hint="Delete the VM.")
        return directories.of(self._root, handle.vm_id), pid, started

    def _signal(self, handle: VMHandle, number: signal.Signals) -> None:
        _, pid, started = self._identify(handle)
        if not procs.alive(pid, started):
            raise Conflict(f"The VM {handle.vm_id} has ended.")
        for one in (pid, *procs.descendants(pid)):
            with suppress(ProcessLookupError):
                os.kill(one, number)

    @asynccontextmanager
    async def _new(self, vm_id: str) -> AsyncIterator[Path]:
        home = directories.of(self._root, vm_id)
        directories.create(home)
        try:
            yield home
        except BaseException:
            await asyncio.shield(self.delete(vm_id))
            raise


def _ended(home: Path) -> Inspection:
    return Inspection(Condition.GONE, "Its process ended." if home.exists() else "The VM was deleted.")


def _tail(file: Path, max_bytes: int) -> bytes:
    try:
        return file.read_bytes()[-max_bytes:]
    except FileNotFoundError:
        return b""


async def _kill(pid: int) -> None:
    """SIGKILL to the process, held still so that it starts nothing more, and all that it has started."""
    started = procs.start_time(pid)
    if started is None:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    for one in (*procs.descendants(pid), pid):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    if not await procs.wait_end(pid, started, 10.0):
        raise Unavailable(f"The process {pid} does not end.")


async def _kill_all(home: Path) -> None:
    while pids := await asyncio.to_thread(procs.find, home, "python"):
        for pid in pids:
            await _kill(pid)


_: type[VMDriver] = FakeDriver
