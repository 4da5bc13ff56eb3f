"""A VM as an object: what can be done with it, without naming it again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Unpack

from aetherium.client.bound import fill
from aetherium.client.commands import Command, How, Result, spec_of
from aetherium.client.executions import Executions, Output
from aetherium.client.machine_files import MachineFiles
from aetherium.client.processes import Process
from aetherium.client.snapshots import Snapshots
from aetherium.client.transport import Transport
from aetherium.domain.checks import Check
from aetherium.domain.executions import TerminalSize
from aetherium.domain.snapshots import Snapshot
from aetherium.domain.vms import VM, VMMetrics

if TYPE_CHECKING:
    from aetherium.client.interactive import Session
    from aetherium.client.vms import VMs

_LOGIN_SHELL = ("/bin/sh", "-l")


class Machine(VM):
    """A VM, and what can be done with it.

    Its fields are what the VM was when it was asked for; what changes it answers with the newer one.

    Attributes:
        files: those inside it.
    """

    __slots__ = ("_executions", "_snapshots", "_vms", "files")
    _executions: Executions
    _snapshots: Snapshots
    _vms: VMs
    files: MachineFiles

    def __init__(self, record: VM, vms: VMs, transport: Transport) -> None:
        fill(
            self,
            record,
            _executions=Executions(transport),
            _snapshots=Snapshots(transport),
            _vms=vms,
            files=MachineFiles(transport, record.id),
        )

    async def run(self, command: Command, **how: Unpack[How]) -> Result:
        """Run a command to its end: a script for the shell, or a program with its arguments.

        A command that fails is a result too; see `Result.check`.
        """
        execution, stdout, stderr = await self._executions.run(self.id, spec_of(command, how))
        return Result(execution, stdout, stderr)

    async def start(self, command: Command, **how: Unpack[How]) -> Process:
        """Start a command in the background."""
        return Process(await self._executions.start(self.id, spec_of(command, how)), self._executions)

    def stream(self, command: Command, **how: Unpack[How]) -> AbstractAsyncContextManager[Output]:
        """Run a command and follow its output. Leaving early does not end it."""
        return self._executions.stream(self.id, spec_of(command, how))

    def interact(self, command: Command, **how: Unpack[How]) -> AbstractAsyncContextManager[Session]:
        """Run a command whose stdin stays open."""
        return self._executions.interactive(self.id, spec_of(command, how, stdin=True))

    def shell(
        self,
        command: Command = _LOGIN_SHELL,
        *,
        size: TerminalSize | None = None,
        **how: Unpack[How],
    ) -> AbstractAsyncContextManager[Session]:
        """Run a shell, or another command, in a terminal."""
        spec = spec_of(command, how, terminal=size or TerminalSize())
        return self._executions.interactive(self.id, spec)

    def processes(self) -> AsyncIterator[Process]:
        """Its executions, newest first."""
        return _bound(self._executions, self.id)

    async def refresh(self) -> Machine:
        """What it is now."""
        return await self._vms.get(self.id)

    async def stop(self, *, grace_s: float = 10.0) -> Machine:
        """Power it off cleanly, then by force."""
        return await self._vms.stop(self.id, grace_s=grace_s)

    async def pause(self) -> Machine:
        """Stop its processors."""
        return await self._vms.pause(self.id)

    async def resume(self) -> Machine:
        """Let it go on."""
        return await self._vms.resume(self.id)

    async def extend(self, ttl_s: float | None) -> Machine:
        """Set its time to live from now on, in seconds; None: without end."""
        return await self._vms.extend(self.id, ttl_s)

    async def snapshot(self, name: str | None = None) -> Snapshot:
        """Its memory, disk and devices, to be restored from."""
        return await self._snapshots.create(self.id, name=name)

    async def fork(self, count: int = 1, *, names: Sequence[str] = ()) -> Sequence[Machine]:
        """Copies of it as it is, while it runs."""
        return await self._vms.fork(self.id, count, names=names)

    async def metrics(self) -> VMMetrics:
        """Live facts."""
        return await self._vms.metrics(self.id)

    async def console(self, *, max_bytes: int = 65536) -> bytes:
        """The last bytes of its serial console."""
        return await self._vms.console(self.id, max_bytes=max_bytes)

    async def diagnose(self) -> Sequence[Check]:
        """Walk the channel to it, and say where it stops."""
        return await self._vms.diagnose(self.id)

    async def delete(self) -> None:
        """Delete it, whatever its state."""
        await self._vms.delete(self.id)


async def _bound(executions: Executions, vm_id: str) -> AsyncIterator[Process]:
    async for execution in executions.iterate(vm_id):
        yield Process(execution, executions)
