"""What the server stands on: the services of this worker, as `bootstrap.Platform` brings them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from aetherium.services.executions import ExecutionService
from aetherium.services.snapshots import SnapshotService
from aetherium.services.vms import VMService


class JobFiles(Protocol):
    """Where jobs keep what they have written."""

    def directory(self, job_id: str) -> Path:
        """Raises InvalidInput for what is no id."""
        ...


class Services(Protocol):
    """The services of one worker."""

    @property
    def vms(self) -> VMService: ...
    @property
    def executions(self) -> ExecutionService: ...
    @property
    def snapshots(self) -> SnapshotService: ...
    @property
    def jobs(self) -> JobFiles: ...
