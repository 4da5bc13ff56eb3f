"""The driver ``qemu``: QEMU's machine type microvm, under KVM or, where that cannot run guests, TCG."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from aetherium import process
from aetherium.domain.errors import (
    AetheriumError,
    BootFailed,
    Conflict,
    Unavailable,
    Unsupported,
    VMCrashed,
    VMFailed,
    VMUnresponsive,
)
from aetherium.domain.guest import GuestEndpoint, UnixEndpoint
from aetherium.domain.vms import Capability, NetworkMode
from aetherium.drivers import directories, procs
from aetherium.drivers.qemu import command, console, disks, qmp, snapshots, users
from aetherium.drivers.qemu.files import allocated
from aetherium.drivers.qemu.home import MONITOR, PORTS, Home, link
from aetherium.drivers.qemu.probe import probe
from aetherium.drivers.qemu.snapshots import Contents
from aetherium.interfaces.drivers import (
    Condition,
    DriverProbe,
    Inspection,
    Launch,
    SnapshotData,
    VMDriver,
    VMHandle,
)

NAME = "qemu"
HANDLE_VERSION = 1
# QEMU's own start takes 40 ms on an idle machine; many at once on a busy one take seconds.
START_S = 20.0
# How often a VM that is waited for has its console looked at.
CONSOLE_S = 1.0
_EXECUTABLE = "qemu-system"
# What QEMU's run states mean (RunState in qapi/run-state.json); the others are kinds of paused.
_PANICKED = frozenset({"guest-panicked", "internal-error"})


class QemuDriver:
    """See interfaces/drivers.py.

    Args:
        root: directory of the VMs' directories; it also holds ``.cache``, which may be removed at any time.
        accel: ``auto``: KVM where a probe shows that it runs guests, otherwise TCG.
    """

    def __init__(self, root: Path, *, accel: str = "auto") -> None:
        self._root = root.absolute()
        self._accel = accel
        self._cache = self._root / ".cache"
        self._disks = disks.Disks(self._cache)
        self._probing = asyncio.Lock()
        self._probed: tuple[DriverProbe, command.Machine | None] | None = None

    @property
    def name(self) -> str:
        return NAME

    async def probe(self) -> DriverProbe:
        """Whether QEMU works here; the first time on a host it takes up to 3 s, if KVM hangs."""
        return (await self._facts())[0]

    async def start(self, launch: Launch) -> VMHandle:
        """Boot an image."""
        machine = await self._able(launch)
        async with self._new(launch) as home:
            await self._disks.create(home, launch.resources.disk_mib)
            contents = await self._contents(launch, machine, level=1)
            return await self._spawn(home, command.boot(machine, launch), contents)

    async def restore(self, launch: Launch, snapshot: SnapshotData, directory: Path) -> VMHandle:
        """Go on from a snapshot. The new VM has links to its files: it may be removed at once."""
        machine = await self._able(launch)
        await self._require(Capability.FORK)
        was = Contents.of(snapshot.data)
        if snapshot.driver != NAME or snapshot.version != snapshots.VERSION:
            raise Unsupported("snapshot", NAME, message=f"This is no snapshot of this version of {NAME}.")
        contents = await self._contents(launch, machine, level=was.level + 1)
        was.check(contents)
        async with self._new(launch) as home:
            disks.adopt(directory, was.level, home)
            link(directory / "memory", home.memory)
            await self._disks.overlay(home, was.disk_mib, contents.level)
            with (directory / snapshots.DEVICE).open("rb") as device:
                fd = device.fileno()
                argv = command.resume(machine, launch, level=contents.level, device_fd=fd)
                return await self._spawn(home, argv, contents, pass_fds=(fd,))

    async def recover(self, handle: VMHandle) -> Inspection:
        """Nothing but the handle is needed to go on."""
        return await self.inspect(handle)

    async def inspect(self, handle: VMHandle) -> Inspection:
        """Live facts."""
        home, pid, started = self._identify(handle)
        await asyncio.to_thread(console.rotate, home.path)
        if not procs.alive(pid, started):
            return self._ended(home)
        try:
            async with qmp.monitor(home.path, MONITOR) as client:
                status = await client.status()
        except VMUnresponsive as error:
            # The monitor serves one client at a time, and a snapshot keeps it for long.
            condition, reason = (Condition.PAUSED, "") if home.busy else (Condition.HUNG, error.message)
        except VMCrashed:
            if procs.alive(pid, started):
                return self._facts_of(home, handle, pid, Condition.HUNG, "The monitor does not answer.")
            return self._ended(home)
        else:
            condition, reason = _condition(status)
        return self._facts_of(home, handle, pid, condition, reason)

    async def wait(self, handle: VMHandle) -> Inspection:
        """Return when the VM has ended; until then its console is kept within bounds."""
        home, pid, started = self._identify(handle)
        while not await procs.wait_end(pid, started, CONSOLE_S):
            await asyncio.to_thread(console.rotate, home.path)
        return self._ended(home)

    async def endpoints(self, handle: VMHandle) -> Sequence[GuestEndpoint]:
        """The agent's virtio-serial ports; each serves one client at a time."""
        home, _, _ = self._identify(handle)
        return [UnixEndpoint(str(home.path / port), exclusive=True) for port in PORTS]

    async def console(self, vm_id: str, *, max_bytes: int = 65536) -> bytes:
        """The last bytes of the serial console."""
        return await asyncio.to_thread(console.tail, Home.of(self._root, vm_id).path, max_bytes)

    async def pause(self, handle: VMHandle) -> None:
        """Stop its processors."""
        async with self._operation(handle) as (_, client):
            await client.execute("stop")

    async def resume(self, handle: VMHandle) -> None:
        """Let them go on."""
        async with self._operation(handle) as (_, client):
            await client.execute("cont")

    async def snapshot(self, handle: VMHandle, directory: Path) -> SnapshotData:
        """Write a snapshot; the VM stands still for about 0.2 s for each 100 MiB that it has written."""
        await self._require(Capability.SNAPSHOT)
        contents = Contents.of(handle.data)
        _, pid, _ = self._identify(handle)
        async with snapshots.staged(directory) as part, self._operation(handle) as (home, client):
            was_running = await client.status() == "running"
            try:
                await client.execute("stop", timeout_s=10.0)
                await snapshots.write(client, pid, home, contents, part)
            finally:
                if was_running:
                    await asyncio.shield(_go_on(client))
        return snapshots.describe(NAME, contents, directory)

    async def stop(self, handle: VMHandle, *, grace_s: float = 0.0) -> None:
        """End its process."""
        _, pid, started = self._identify(handle)
        if grace_s > 0 and await procs.wait_end(pid, started, grace_s):
            return
        if procs.alive(pid, started):
            await _kill(pid)

    async def delete(self, vm_id: str) -> None:
        """Remove every trace of a VM, whoever started it and however far that came."""
        home = Home.of(self._root, vm_id)
        await self._kill_all(home)
        await asyncio.to_thread(directories.remove, home.path)
        await self._kill_all(home)  # one that was started meanwhile: its directory is gone

    async def owned(self) -> Sequence[str]:
        """All VMs that have a directory; there is nothing outside of it."""
        return directories.owned(self._root)

    # -- starting

    async def _facts(self) -> tuple[DriverProbe, command.Machine | None]:
        async with self._probing:
            if self._probed is None:
                self._probed = await probe(self._cache, self._accel)
            return self._probed

    async def _able(self, launch: Launch) -> command.Machine:
        """Raise what stands against starting this VM here."""
        if launch.network.mode is not NetworkMode.NONE:
            raise Unsupported(
                Capability.NETWORK_POLICY,
                NAME,
                message=f"The driver {NAME!r} cannot give a VM the network mode {launch.network.mode!r} yet.",
                hint="Use the network mode 'none'.",
            )
        found, machine = await self._facts()
        if machine is None:
            raise Unavailable(found.reason, hint=found.hint)
        return machine

    async def _require(self, capability: Capability) -> None:
        found = await self.probe()
        if capability not in found.capabilities:
            raise Unsupported(capability, NAME, hint=found.hint)

    async def _contents(self, launch: Launch, machine: command.Machine, *, level: int) -> Contents:
        qemu = str((await self.probe()).facts["qemu"])
        try:
            return Contents.launched(
                launch, level=level, accel=machine.accel, qemu=qemu, tsc_khz=machine.tsc_khz
            )
        except FileNotFoundError as error:
            raise BootFailed(f"The image is incomplete: {error.filename} is missing.") from error

    @asynccontextmanager
    async def _new(self, launch: Launch) -> AsyncIterator[Home]:
        """A home for a VM to be; nothing of the VM stays if the block fails or is cancelled."""
        home = Home.of(self._root, launch.vm_id)
        directories.create(home.path)
        users.give(home.path, home.vm_id)
        try:
            yield home
        except BaseException as error:
            await asyncio.shield(self.delete(launch.vm_id))
            if isinstance(error, OSError):
                raise BootFailed(f"The VM cannot be started: {error}.") from error
            raise

    async def _spawn(
        self, home: Home, argv: list[str], contents: Contents, *, pass_fds: Sequence[int] = ()
    ) -> VMHandle:
        pid = await process.daemon(argv, cwd=home.path, log=home.log, pass_fds=pass_fds)
        started = procs.start_time(pid)
        if started is None:
            raise BootFailed(f"QEMU ended at once: {home.last_words()}")
        _limit_files(pid, contents.disk_mib)
        await self._running(home, pid, started)
        data = {"pid": pid, "start_time": started, **asdict(contents)}
        return VMHandle(NAME, home.vm_id, HANDLE_VERSION, data)

    async def _running(self, home: Home, pid: int, started: int) -> None:
        """Return when the VM's processors run. Raises BootFailed."""
        pause = 0.001
        try:
            async with asyncio.timeout(START_S):
                while procs.alive(pid, started):
                    with suppress(VMCrashed, VMUnresponsive):  # not listening yet, or ended: seen above
                        async with qmp.monitor(home.path, MONITOR) as client:
                            if await client.status() == "running":
                                return
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.2, 0.02)
        except TimeoutError:
            raise BootFailed(f"QEMU was not ready within {START_S:g} seconds: {home.last_words()}") from None
        raise BootFailed(f"QEMU could not start the VM: {home.last_words() or 'it ended without a word'}")

    # -- running VMs

    def _identify(self, handle: VMHandle) -> tuple[Home, int, int]:
        if handle.driver != NAME or handle.version != HANDLE_VERSION:
            raise Unsupported(
                "recover",
                NAME,
                message=f"The handle of {handle.vm_id} is of {handle.driver} version {handle.version}.",
                hint=f"This is {NAME} version {HANDLE_VERSION}: delete the VM.",
            )
        pid, started = handle.data.get("pid"), handle.data.get("start_time")
        if not isinstance(pid, int) or not isinstance(started, int):
            raise VMFailed(f"The handle of {handle.vm_id} is damaged.", hint="Delete the VM.")
        return Home.of(self._root, handle.vm_id), pid, started

    @asynccontextmanager
    async def _operation(self, handle: VMHandle) -> AsyncIterator[tuple[Home, qmp.Monitor]]:
        """The VM's monitor, for an operation that excludes others on the same VM."""
        home, pid, started = self._identify(handle)
        if not procs.alive(pid, started):
            raise Conflict(f"The VM {home.vm_id} has ended.", hint=self._ended(home).reason)
        async with home.exclusive(), qmp.monitor(home.path, MONITOR) as client:
            yield home, client

    def _facts_of(
        self, home: Home, handle: VMHandle, pid: int, condition: Condition, reason: str
    ) -> Inspection:
        disk = allocated(home.disk(Contents.of(handle.data).level))
        return Inspection(condition, reason, pid, procs.cpu_s(pid), procs.pss_bytes(pid), disk)

    def _ended(self, home: Home) -> Inspection:
        """Why a VM is gone, as far as it has left a trace."""
        if panic := console.panic(home.path):
            return Inspection(Condition.PANICKED, f"The guest's kernel panicked: {panic}")
        if not home.path.exists():
            return Inspection(Condition.GONE, "The VM was deleted.")
        orderly = not home.monitor.exists()
        how = "It was powered off." if orderly else "Its process was killed or crashed."
        return Inspection(Condition.GONE, f"{how} {home.last_words()}".rstrip(), orderly=orderly)

    async def _kill_all(self, home: Home) -> None:
        while pids := await asyncio.to_thread(procs.find, home.path, _EXECUTABLE):
            for pid in pids:
                await _kill(pid)


def _condition(status: str) -> tuple[Condition, str]:
    if status == "running":
        return Condition.RUNNING, ""
    if status in _PANICKED:
        return Condition.PANICKED, f"QEMU says: {status}."
    return Condition.PAUSED, ""


async def _go_on(client: qmp.Monitor) -> None:
    with suppress(AetheriumError):  # it has ended; whoever waits for it is told why
        await client.execute("cont", timeout_s=10.0)


async def _kill(pid: int) -> None:
    """SIGKILL, and wait until it is gone: QEMU has nothing to save."""
    started = procs.start_time(pid)
    if started is None:
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    if not await procs.wait_end(pid, started, 10.0):
        raise Unavailable(f"The process {pid} does not end.", hint="The host's disk may hang.")


def _limit_files(pid: int, disk_mib: int) -> None:
    """No file that QEMU writes can grow beyond this; a console that nobody looks at included."""
    limit = (disk_mib * 9 // 8 + 256) << 20
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, limit))


_: type[VMDriver] = QemuDriver
