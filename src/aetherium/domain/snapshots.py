"""A snapshot: memory, disk and device state of a VM.

::

    creating ──► ready ──► deleting ──► (row removed)
        │                      ▲
        └──► failed ───────────┘
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from aetherium.domain.lifecycle import Lifecycle
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.vms import Resources


class SnapshotState(StrEnum):
    """Where a snapshot is in its life."""

    CREATING = "creating"
    READY = "ready"
    DELETING = "deleting"
    FAILED = "failed"


SNAPSHOT_LIFECYCLE: Lifecycle[SnapshotState] = Lifecycle(
    "Snapshot",
    {
        SnapshotState.CREATING: frozenset({SnapshotState.READY, SnapshotState.FAILED}),
        SnapshotState.READY: frozenset({SnapshotState.DELETING}),
        SnapshotState.FAILED: frozenset({SnapshotState.DELETING}),
        SnapshotState.DELETING: frozenset(),
    },
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot as recorded.

    Args:
        image_digest: the image its VM had booted; it is held as long as the snapshot lives.
        resources: size of the VM; a restore has the same.
        driver_data: what the driver needs for a restore (versioned, JSON types only), and `machine`.
        size_bytes: bytes on the host's disk.
        owner: the process that makes or deletes it (see worker/owners.py); None once it is ready.
    """

    id: str
    name: str | None
    vm_id: str
    driver: str
    image_digest: str
    resources: Resources
    state: SnapshotState
    created_at: datetime
    size_bytes: int = 0
    driver_data: Mapping[str, object] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    owner: str | None = None
    worker_id: str | None = None
    project_id: str = DEFAULT_PROJECT

    @property
    def machine(self) -> str:
        """What a worker has to be to restore it (WorkerInfo.machines): it is in the object store. Empty: it
        is where it was made, and nowhere else."""
        return str(self.driver_data.get("machine", ""))
