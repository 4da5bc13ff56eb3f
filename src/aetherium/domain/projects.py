"""A project: a tenant, with quotas."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

# The id of the project that is always there.
DEFAULT_PROJECT = "default"
# Of what belongs to nobody yet: VMs that wait in a pool.
NO_PROJECT = ""


@dataclass(frozen=True, slots=True)
class Quota:
    """What a project may use at once; None: no limit.

    Args:
        tasks: placed or running.
        vms, vcpus, memory_mib: of its running VMs and of the tasks that run in VMs.
        disk_mib: of its running VMs.
        tasks_per_minute: accepted; more are refused.
        waiting: tasks that have not begun; more are refused.
        requests_per_minute: to the API; more are refused.
    """

    tasks: int | None = None
    vms: int | None = None
    vcpus: int | None = None
    memory_mib: int | None = None
    disk_mib: int | None = None
    tasks_per_minute: int | None = None
    waiting: int | None = None
    requests_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """One project as recorded."""

    id: str
    name: str
    created_at: datetime
    quota: Quota = field(default_factory=Quota)
