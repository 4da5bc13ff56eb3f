"""A VM as an object; see aetherium.client.machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Unpack

from aetherium.client import machines
from aetherium.client.bound import fill
from aetherium.client.commands import Command, How, Result
from aetherium.client.sync.loop import Loop
from aetherium.client.sync.machine_files import MachineFiles
from aetherium.client.sync.processes import Process
from aetherium.client.sync.streams import chunks
from aetherium.client.vms import deleted
from aetherium.domain.checks import Check
from aetherium.domain.guest import OutputChunk
from aetherium.domain.snapshots import Snapshot
from aetherium.domain.vms import VM, VMMetrics


class Machine(VM):
    """A VM, and what can be done with it. As a context manager, it is deleted when the block is left.

    Its fields are what the VM was when it was asked for; what changes it answers with the newer one.

    Attributes:
        files: those inside it.
    """

    __slots__ = ("_inner", "_loop", "files")
    _inner: machines.Machine
    _loop: Loop
    files: MachineFiles

    def __init__(self, inner: machines.Machine, loop: Loop) -> None:
        fill(self, inner, _inner=inner, _loop=loop, files=MachineFiles(inner.files, loop))

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.run(deleted(self._inner))

    def run(self, command: Command, **how: Unpack[How]) -> Result:
        """Run a command to its end: a script for the shell, or a program with its arguments.

        A command that fails is a result too; see `Result.check`.
        """
        return self._loop.run(self._inner.run(command, **how))

    def start(self, command: Command, **how: Unpack[How]) -> Process:
        """Start a command in the background."""
        return Process(self._loop.run(self._inner.start(command, **how)), self._loop)

    def stream(self, command: Command, **how: Unpack[How]) -> Iterator[OutputChunk]:
        """Run a command and follow its output. Leaving early does not end it."""
        return self._loop.iterate(chunks(self._inner.stream(command, **how)))

    def processes(self) -> Iterator[Process]:
        """Its executions, newest first."""
        for process in self._loop.each(self._inner.processes()):
            yield Process(process, self._loop)

    def refresh(self) -> Machine:
        """What it is now."""
        return self._again(self._loop.run(self._inner.refresh()))

    def stop(self, *, grace_s: float = 10.0) -> Machine:
        """Power it off cleanly, then by force."""
        return self._again(self._loop.run(self._inner.stop(grace_s=grace_s)))

    def pause(self) -> Machine:
        """Stop its processors."""
        return self._again(self._loop.run(self._inner.pause()))

    def resume(self) -> Machine:
        """Let it go on."""
        return self._again(self._loop.run(self._inner.resume()))

    def extend(self, ttl_s: float | None) -> Machine:
        """Set its time to live from now on, in seconds; None: without end."""
        return self._again(self._loop.run(self._inner.extend(ttl_s)))

    def snapshot(self, name: str | None = None) -> Snapshot:
        """Its memory, disk and devices, to be restored from."""
        return self._loop.run(self._inner.snapshot(name))

    def fork(self, count: int = 1, *, names: Sequence[str] = ()) -> Sequence[Machine]:
        """Copies of it as it is, while it runs."""
        return [self._again(one) for one in self._loop.run(self._inner.fork(count, names=names))]

    def metrics(self) -> VMMetrics:
        """Live facts."""
        return self._loop.run(self._inner.metrics())

    def console(self, *, max_bytes: int = 65536) -> bytes:
        """The last bytes of its serial console."""
        return self._loop.run(self._inner.console(max_bytes=max_bytes))

    def diagnose(self) -> Sequence[Check]:
        """Walk the channel to it, and say where it stops."""
        return self._loop.run(self._inner.diagnose())

    def delete(self) -> None:
        """Delete it, whatever its state."""
        self._loop.run(self._inner.delete())

    def _again(self, inner: machines.Machine) -> Machine:
        return Machine(inner, self._loop)
