"""A worker: a daemon on a host that runs tasks and holds VMs.

::

    active ⇄ draining          draining: takes nothing new, finishes what it has
      │  ▲      │
      ▼  │      ▼
      lost / stopped           lost: its lease ran out; stopped: it said so. Registering again: active.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class WorkerState(StrEnum):
    """Whether a worker can be given tasks."""

    ACTIVE = "active"
    DRAINING = "draining"
    LOST = "lost"
    STOPPED = "stopped"


# States in which its lease counts and its process is believed to run.
PRESENT = frozenset({WorkerState.ACTIVE, WorkerState.DRAINING})


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much a worker takes at once: tasks of any kind, and the sum of its VMs' sizes."""

    tasks: int = 64
    vcpus: int = 4
    memory_mib: int = 4096


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker says of itself when it registers, and with each heartbeat.

    Args:
        address: where its gRPC service listens (``unix:PATH``, ``HOST:PORT``); empty: it has none.
        drivers: those that work now; one that became unhealthy is missing.
        images: digests that it holds.
        pooled: warm VMs that wait, by image digest.
        machines: what snapshots need of the host, by driver (interfaces/drivers.py, DriverProbe).
        private: takes only tasks that name it; a command that is its own platform for as long as it runs.
    """

    id: str
    name: str
    address: str = ""
    version: str = ""
    capacity: Capacity = field(default_factory=Capacity)
    drivers: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    pooled: Mapping[str, int] = field(default_factory=dict)
    machines: Mapping[str, str] = field(default_factory=dict)
    private: bool = False


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker as recorded.

    Args:
        incarnation: counts its registrations; what an earlier one has claimed is not its any more.
        drain: an operator wants it drained, which outlives its restarts.
        lease_until: it is lost when this passes without a heartbeat (the database's clock).
    """

    info: WorkerInfo
    state: WorkerState
    incarnation: int
    registered_at: datetime
    seen_at: datetime
    lease_until: datetime
    drain: bool = False

    @property
    def id(self) -> str:
        """Its id, which stays over restarts."""
        return self.info.id


@dataclass(frozen=True, slots=True)
class Usage:
    """What is in use of a worker, or by a project: tasks placed or running, and the VMs' sizes in sum."""

    tasks: int = 0
    vcpus: int = 0
    memory_mib: int = 0
    vms: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.tasks + other.tasks,
            self.vcpus + other.vcpus,
            self.memory_mib + other.memory_mib,
            self.vms + other.vms,
        )


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker, and what is in use of it."""

    worker: Worker
    usage: Usage = field(default_factory=Usage)
