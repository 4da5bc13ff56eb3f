"""A VM and its lifecycle.

::

    creating ──► running ⇄ paused
        │           │  ▲      │
        │           ▼  │      ▼
        │        stopping ◄───┘
        │           │
        ▼           ▼
      failed ◄── stopped

Any state but the final ones may become ``failed``. A guest that powers itself off takes its VM from
``running`` to ``stopped`` directly (and from ``paused``, if the row of a resumed VM is not written yet).
``stopped`` and ``failed`` keep the row and the console log until the VM is deleted; deleting removes
everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from aetherium.domain.errors import InvalidInput
from aetherium.domain.guest import GuestMetrics
from aetherium.domain.lifecycle import Lifecycle
from aetherium.domain.projects import DEFAULT_PROJECT


class VMState(StrEnum):
    """Where a VM is in its life."""

    CREATING = "creating"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


VM_LIFECYCLE: Lifecycle[VMState] = Lifecycle(
    "VM",
    {
        VMState.CREATING: frozenset({VMState.RUNNING, VMState.STOPPING, VMState.FAILED}),
        VMState.RUNNING: frozenset({VMState.PAUSED, VMState.STOPPING, VMState.STOPPED, VMState.FAILED}),
        VMState.PAUSED: frozenset({VMState.RUNNING, VMState.STOPPING, VMState.STOPPED, VMState.FAILED}),
        VMState.STOPPING: frozenset({VMState.STOPPED, VMState.FAILED}),
        VMState.STOPPED: frozenset(),
        VMState.FAILED: frozenset(),
    },
)


class Capability(StrEnum):
    """What a driver can do; see interfaces/drivers.py."""

    EXEC = "exec"
    FILES = "files"
    PTY = "pty"
    PAUSE = "pause"
    SNAPSHOT = "snapshot"
    FORK = "fork"
    NETWORK_POLICY = "network_policy"
    RESIZE = "resize"
    HARDWARE_ISOLATION = "hardware_isolation"


class NetworkMode(StrEnum):
    """How far a VM reaches: not at all, to named destinations, or out to public addresses."""

    NONE = "none"
    ALLOWLIST = "allowlist"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """What a VM may reach. A driver that cannot enforce it refuses; it never falls open.

    Args:
        mode: none, allowlist or open.
        allow: for ``allowlist``: domains, CIDRs, each with an optional ``:port``.
    """

    mode: NetworkMode = NetworkMode.NONE
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.allow and self.mode is not NetworkMode.ALLOWLIST:
            raise InvalidInput(
                f"Destinations were given, but the network mode is {self.mode}.",
                hint="Use the mode 'allowlist'.",
            )


@dataclass(frozen=True, slots=True)
class Resources:
    """The size of a VM.

    Args:
        vcpus: virtual processors, 1 to 64.
        memory_mib: guest memory in MiB, at least 128.
        disk_mib: size limit of the writable overlay in MiB, at least 16.
    """

    vcpus: int = 1
    memory_mib: int = 512
    disk_mib: int = 4096

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("vcpus", self.vcpus, 1, 64),
            ("memory_mib", self.memory_mib, 128, 1024 * 1024),
            ("disk_mib", self.disk_mib, 16, 16 * 1024 * 1024),
        ):
            if not low <= value <= high:
                raise InvalidInput(
                    f"{name} is {value}.", hint=f"It must be from {low} to {high}.", field=name
                )


_LABEL = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$")
_VM_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")


@dataclass(frozen=True, slots=True)
class VMSpec:
    """What a caller asks for.

    Args:
        image: tag or digest (or unique prefix of one).
        name: optional, unique among living VMs; becomes the host name.
        driver: a driver's name, or ``auto``: the strongest that works on this host.
        ttl_s: the VM is deleted this many seconds after creation; None: never.
        idle_timeout_s: after this many seconds without an execution, file call or terminal the
            `idle_action` is taken; None: never.
        idle_action: ``pause`` or ``delete``.
        env: environment of every execution. Not for secrets: it is stored.
    """

    image: str = "base"
    name: str | None = None
    driver: str = "auto"
    resources: Resources = field(default_factory=Resources)
    network: NetworkPolicy = field(default_factory=NetworkPolicy)
    ttl_s: float | None = None
    idle_timeout_s: float | None = None
    idle_action: str = "pause"
    labels: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name is not None and not _VM_NAME.match(self.name):
            raise InvalidInput(
                f"The VM name {self.name!r} cannot be used.",
                hint="Use 1 to 63 lower-case letters, digits and hyphens, as in a host name.",
                field="name",
            )
        if self.idle_action not in ("pause", "delete"):
            raise InvalidInput(
                f"idle_action is {self.idle_action!r}.",
                hint="Use pause or delete.",
                field="idle_action",
            )
        for name, seconds in (("ttl_s", self.ttl_s), ("idle_timeout_s", self.idle_timeout_s)):
            if seconds is not None and not 0 < seconds <= 365 * 86400:
                raise InvalidInput(
                    f"{name} is {seconds}.",
                    hint="Give seconds above 0, at most a year.",
                    field=name,
                )
        for key in self.labels:
            if not _LABEL.match(key):
                raise InvalidInput(f"The label {key!r} cannot be used.", field="labels")

    def with_labels(self, labels: Mapping[str, str]) -> VMSpec:
        """The same with further labels."""
        return replace(self, labels={**self.labels, **labels})


# The reason of a VM that the idle policy has paused: its next use resumes it.
IDLE = "idle"


@dataclass(frozen=True, slots=True)
class VM:
    """One VM as recorded.

    Args:
        image_digest: the exact image that it booted.
        snapshot_id: the snapshot it was restored from, if any.
        handle: the driver's versioned description of the running thing, JSON types only; see
            interfaces/drivers.py. None until the driver has started it.
        reason: why it is ``failed``, ``stopped`` or ``paused`` (IDLE: by the idle policy); empty otherwise.
        last_active_at: last execution, file call or terminal, for the idle policy.
        owner: the process (see worker/owners.py) that has to live for this VM to live: while it is being
            created, and for VMs of a pool or a job. None: it outlives every process.
        worker_id: the worker on whose host it is.
    """

    id: str
    spec: VMSpec
    state: VMState
    driver: str
    image_digest: str
    created_at: datetime
    updated_at: datetime
    last_active_at: datetime
    snapshot_id: str | None = None
    handle: Mapping[str, object] | None = None
    reason: str = ""
    owner: str | None = None
    worker_id: str | None = None
    project_id: str = DEFAULT_PROJECT

    @property
    def expires_at(self) -> float | None:
        """POSIX seconds at which the TTL ends, or None."""
        return None if self.spec.ttl_s is None else self.created_at.timestamp() + self.spec.ttl_s


@dataclass(frozen=True, slots=True)
class VMMetrics:
    """Live facts of a VM.

    Args:
        condition: what its process does, as the host sees it: running, paused, panicked, hung or gone.
        cpu_s: seconds of CPU its process has used.
        memory_bytes: proportional set size of its process.
        disk_bytes: what its overlay takes on the host's disk.
        guest: what its agent says of the inside; None when it does not run or does not answer.
    """

    vm_id: str
    condition: str
    reason: str
    cpu_s: float
    memory_bytes: int
    disk_bytes: int
    guest: GuestMetrics | None
