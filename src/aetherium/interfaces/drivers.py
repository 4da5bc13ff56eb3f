"""A driver runs VMs on this host, each in a directory of its own.

Legal order of calls for one VM::

    probe ─► start ────┬─► inspect · wait · console · endpoints · pause ⇄ resume · snapshot (any number)
             restore ──┘        │
                                ▼
                              stop ─► delete

`stop` and `delete` may come at any moment, in the middle of `start` too (from another process, after the one
that started was killed), and are idempotent. `start` and `restore` that fail or are cancelled leave nothing.
A VM outlives the process that started it: whoever has its handle goes on with `recover`.

What a driver cannot do it does not declare, and it raises Unsupported; it never does something weaker.
Foreign errors are translated inside the driver: only the tree of domain/errors.py comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from aetherium.domain.guest import GuestEndpoint
from aetherium.domain.images import ImagePaths
from aetherium.domain.vms import Capability, NetworkPolicy, Resources


@dataclass(frozen=True, slots=True)
class DriverProbe:
    """Whether a driver works on this host.

    Args:
        reason: why it does not, or how it does ("TCG (KVM cannot start a guest here)").
        hint: what to do about it; empty if nothing needs doing.
        facts: versions, accelerator …, JSON types only.
        machine: what a snapshot needs of the host on which it is restored: one that says the same. Empty: a
            snapshot does not leave the host on which it was made.
    """

    available: bool
    capabilities: frozenset[Capability]
    reason: str = ""
    hint: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Launch:
    """A VM to be started. Its directory is ``<root>/<vm_id>``, made by the driver with mode 0700."""

    vm_id: str
    image: ImagePaths
    resources: Resources
    network: NetworkPolicy = field(default_factory=NetworkPolicy)


@dataclass(frozen=True, slots=True)
class VMHandle:
    """A versioned description of a running VM, enough for another process to take it over.

    Args:
        version: of the layout of `data`, per driver.
        data: JSON types only. No secrets.
    """

    driver: str
    vm_id: str
    version: int
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class SnapshotData:
    """A driver's snapshot in its directory, versioned like a handle.

    Args:
        size_bytes: bytes on the host's disk (allocated, not apparent).
    """

    driver: str
    version: int
    data: Mapping[str, object]
    size_bytes: int = 0


class Condition(StrEnum):
    """What a VM's process is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    PANICKED = "panicked"
    HUNG = "hung"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Inspection:
    """Live facts of a VM, seen from the host.

    Args:
        reason: what is known about the end, for ``gone`` and ``panicked``: exit code, signal, panic line.
        pid: of the VM's main process, or None when it is gone.
        cpu_s: seconds of CPU its process has used.
        memory_bytes: proportional set size (PSS) of its process.
        disk_bytes: bytes that its overlay takes on the host's disk.
        orderly: for ``gone``: it is known that the guest powered itself off. False where nothing is known.
    """

    condition: Condition
    reason: str = ""
    pid: int | None = None
    cpu_s: float = 0.0
    memory_bytes: int = 0
    disk_bytes: int = 0
    orderly: bool = False


class VMDriver(Protocol):
    """See the module's docstring for the order of calls. Every call takes any process's handle."""

    @property
    def name(self) -> str: ...

    async def probe(self) -> DriverProbe:
        """Whether it works here and what it can do; cached after the first call, ≤ 10 s."""
        ...

    async def start(self, launch: Launch) -> VMHandle:
        """Boot; returns as soon as the VM runs, before its agent answers.

        Raises BootFailed, Unsupported (a network policy that cannot be enforced), ToolMissing, AlreadyExists.
        """
        ...

    async def restore(self, launch: Launch, snapshot: SnapshotData, directory: Path) -> VMHandle:
        """A new VM from the snapshot in `directory`; memory is shared copy-on-write with its siblings. It
        runs when this returns, with the identity of the VM that was snapshot: the caller gives it a new one
        before anything else. Forking to N is N of these, which may run at once. `launch.resources`
        must be those of the snapshot, except for a larger disk limit that is ignored."""
        ...

    async def recover(self, handle: VMHandle) -> Inspection:
        """Take over a VM that another process started. GONE if there is nothing left of it; a process that
        merely has the same pid is not taken for it."""
        ...

    async def inspect(self, handle: VMHandle) -> Inspection:
        """Live facts. HUNG when its control channel does not answer within 2 s."""
        ...

    async def wait(self, handle: VMHandle) -> Inspection:
        """Return when the VM is gone or has panicked, within 0.5 s of it, saying why."""
        ...

    async def endpoints(self, handle: VMHandle) -> Sequence[GuestEndpoint]:
        """Where its agent is reached."""
        ...

    async def console(self, vm_id: str, *, max_bytes: int = 65536) -> bytes:
        """The last bytes of the serial console; also of a VM that has ended, until it is deleted."""
        ...

    async def pause(self, handle: VMHandle) -> None:
        """Stop its processors. Idempotent."""
        ...

    async def resume(self, handle: VMHandle) -> None:
        """Let them go on. Idempotent."""
        ...

    async def snapshot(self, handle: VMHandle, directory: Path) -> SnapshotData:
        """Write memory, disk and devices into `directory`, which does not exist yet: all or nothing.
        The VM is paused meanwhile and then goes on if it was running."""
        ...

    async def stop(self, handle: VMHandle, *, grace_s: float = 0.0) -> None:
        """End the VM's process: after `grace_s` in which it may end by itself (the caller has asked the guest
        to power off), or at once. Its directory stays. Idempotent; on return the process is gone."""
        ...

    async def delete(self, vm_id: str) -> None:
        """End it if need be and remove all that it has on this host: processes, sockets, directory.
        Idempotent, and works for a VM whose handle was never recorded."""
        ...

    async def owned(self) -> Sequence[str]:
        """Ids of all VMs that have anything on this host, a lone directory included."""
        ...
