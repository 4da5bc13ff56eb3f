"""Where state lives: rows of VMs, executions, snapshots, jobs; and all repositories together.

Tasks are in task_store.py; workers, schedules, projects, events and leadership in cluster_store.py.

Every call is one transaction: done as a whole, or not at all, cancelled callers included; `Store.transaction`
makes one of several calls. Several processes on several hosts use one store at once. Time that hosts have to
agree on (leases, due tasks) is the store's own, so their clocks may differ. A change of state is a
compare-and-set guarded by the thing's lifecycle: of two callers that want the same step one gets it and the
other InvalidTransition. `edit` is a read-modify-write that nobody can come between.

`find` takes an id, a name where the thing has one, or a unique prefix of an id (6 characters and more). All
calls raise NotFound for what is not there, InvalidInput for a prefix that fits several, and Unavailable when
the store cannot be reached or stays locked by others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypedDict, TypeVar, Unpack

from aetherium.domain.executions import Execution
from aetherium.domain.jobs import Job, JobState
from aetherium.domain.snapshots import Snapshot, SnapshotState
from aetherium.domain.vms import VM, VMSpec, VMState
from aetherium.interfaces.audit import AuditRepository
from aetherium.interfaces.cluster_store import (
    EventRepository,
    ImageRepository,
    LeaderRepository,
    ProjectRepository,
    ScheduleRepository,
    WorkerRepository,
)
from aetherium.interfaces.idempotency import IdempotencyRepository
from aetherium.interfaces.identity_store import APIKeyRepository, MemberRepository
from aetherium.interfaces.secrets import SecretKeyRepository, SecretRepository
from aetherium.interfaces.task_store import (
    QueueRepository,
    TaskRepository,
)

T = TypeVar("T")


class VMFields(TypedDict, total=False):
    """What a transition may set beside the state."""

    handle: Mapping[str, object] | None
    reason: str
    owner: str | None
    last_active_at: datetime


class SnapshotFields(TypedDict, total=False):
    """What a transition may set beside the state."""

    size_bytes: int
    driver_data: Mapping[str, object]
    reason: str
    owner: str | None


class JobFilter(TypedDict, total=False):
    """Which jobs; all of what is given has to fit, as for TaskFilter. `name`: how it begins."""

    states: Collection[JobState]
    name: str
    labels: Mapping[str, str]
    created_after: datetime
    created_before: datetime


class VMRepository(Protocol):
    """VMs. A name is unique among those that are neither stopped nor failed."""

    async def add(self, vm: VM) -> None:
        """Raises AlreadyExists when a living VM has the name."""
        ...

    async def get(self, vm_id: str) -> VM: ...

    async def find(self, ref: str) -> VM:
        """Of several VMs with a name the living one, else the newest."""
        ...

    async def list(
        self, *, states: Collection[VMState] = (), labels: Mapping[str, str] | None = None
    ) -> Sequence[VM]:
        """Newest first. `states` empty: all. `labels`: those that have all of these."""
        ...

    async def transition(
        self, vm_id: str, to: VMState, *, only_from: Collection[VMState] = (), **fields: Unpack[VMFields]
    ) -> VM:
        """`only_from` narrows the states that the lifecycle allows to come from."""
        ...

    async def edit(self, vm_id: str, change: Callable[[VM], VM]) -> VM:
        """Read, apply the pure function `change`, write; id, state and creation are kept."""
        ...

    async def claim(
        self, vm_id: str, *, owner: str, spec: VMSpec, project: str, heir: str | None, at: datetime
    ) -> VM | None:
        """Hand a running VM that `owner` holds on to `heir` and a project with a new spec, created `at`; None
        if it is not there, not running or no longer that owner's. Raises AlreadyExists for the name."""
        ...

    async def touch(self, active: Mapping[str, datetime]) -> None:
        """Note activity by id; never backwards, and unknown ids are passed over."""
        ...

    async def remove(self, vm_id: str) -> bool:
        """With its executions; whether it was there."""
        ...


class ExecutionRepository(Protocol):
    """Executions. Secret values never get here: only their names are kept."""

    async def save(self, executions: Sequence[Execution]) -> None:
        """Insert or update all; one that has ended is not changed any more, and those of a VM whose row is
        gone are passed over."""
        ...

    async def get(self, execution_id: str) -> Execution: ...

    async def list(self, vm_id: str, *, unfinished: bool = False) -> Sequence[Execution]:
        """Newest first."""
        ...

    async def busy(self) -> Mapping[str, int]:
        """How many unfinished executions each VM has; VMs without one are missing."""
        ...

    async def lose(self, vm_id: str, at: datetime) -> int:
        """What had not ended becomes `lost`; how many these were."""
        ...


class SnapshotRepository(Protocol):
    """Snapshots. A name is unique."""

    async def add(self, snapshot: Snapshot) -> None: ...

    async def get(self, snapshot_id: str) -> Snapshot: ...

    async def find(self, ref: str) -> Snapshot: ...

    async def list(self) -> Sequence[Snapshot]:
        """Newest first."""
        ...

    async def transition(
        self, snapshot_id: str, to: SnapshotState, **fields: Unpack[SnapshotFields]
    ) -> Snapshot: ...

    async def remove(self, snapshot_id: str) -> bool: ...


class JobRepository(Protocol):
    """Jobs."""

    async def add(self, job: Job) -> None: ...

    async def get(self, job_id: str) -> Job: ...

    async def find(self, ref: str) -> Job: ...

    async def list(
        self,
        *,
        limit: int | None = None,
        before: str = "",
        oldest_first: bool = False,
        **where: Unpack[JobFilter],
    ) -> Sequence[Job]:
        """Newest first, by id; `before`: only what comes behind this id in the order asked for."""
        ...

    async def save(self, job: Job, *, fenced: bool = False) -> Job:
        """Replace the row if its state is the same (and not final) or one that `job.state` may follow;
        raises InvalidTransition otherwise. `fenced`: only while the task `job.task_id` is carried out by the
        attempt `job.attempt`; raises Conflict otherwise."""
        ...

    async def remove(self, job_id: str) -> bool: ...

    async def remove_of(self, task_ids: Collection[str]) -> Sequence[str]:
        """Remove the jobs of these tasks, as far as they have ended; their ids."""
        ...


class Store(Protocol):
    """All repositories of one database."""

    @property
    def tasks(self) -> TaskRepository: ...

    @property
    def workers(self) -> WorkerRepository: ...

    @property
    def schedules(self) -> ScheduleRepository: ...

    @property
    def projects(self) -> ProjectRepository: ...

    @property
    def queues(self) -> QueueRepository: ...

    @property
    def events(self) -> EventRepository: ...

    @property
    def images(self) -> ImageRepository: ...

    @property
    def leaders(self) -> LeaderRepository: ...

    @property
    def secrets(self) -> SecretRepository: ...

    @property
    def secret_keys(self) -> SecretKeyRepository: ...

    @property
    def api_keys(self) -> APIKeyRepository: ...

    @property
    def members(self) -> MemberRepository: ...

    @property
    def audit(self) -> AuditRepository: ...

    @property
    def idempotency(self) -> IdempotencyRepository: ...

    async def transaction(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Do all that `work` does with the store it is given in one transaction. `work` may be cut nowhere,
        and touches nothing but that store."""
        ...

    def of_project(self, project_id: str) -> Store:
        """The same as a tenant sees it: of VMs, executions, snapshots, jobs, tasks, schedules, events,
        projects, API keys, members and entries of the audit log nothing but the project's is found or
        listed."""
        ...

    async def now(self) -> datetime:
        """The store's time."""
        ...

    @property
    def vms(self) -> VMRepository: ...

    @property
    def executions(self) -> ExecutionRepository: ...

    @property
    def snapshots(self) -> SnapshotRepository: ...

    @property
    def jobs(self) -> JobRepository: ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
