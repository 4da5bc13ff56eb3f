"""Where state lives: rows of VMs, executions, snapshots, jobs, tasks, workers and so on.

Every call is one transaction: done as a whole, or not at all, cancelled callers included; `Store.transaction`
makes one of several calls. Several processes on several hosts use one store at once. Time that hosts have to
agree on (leases, due tasks) is the store's own, so their clocks may differ. A change of state is a compare-and-set guarded by the thing's lifecycle: of two callers
that want the same step one gets it and the other InvalidTransition. `edit` is a read-modify-write that nobody
can come between.

A store may be a worker's view: what it adds is that worker's, and of VMs, executions and snapshots (and in
lists of jobs) it sees nothing else.

`find` takes an id, a name where the thing has one, or a unique prefix of an id (6 characters and more). All
calls raise NotFound for what is not there, InvalidInput for a prefix that fits several, and Unavailable when
the store cannot be reached or stays locked by others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypedDict, TypeVar, Unpack

from aetherium.domain.events import Event
from aetherium.domain.executions import Execution
from aetherium.domain.jobs import Job, JobState
from aetherium.domain.projects import Project, Quota
from aetherium.domain.schedules import Schedule
from aetherium.domain.snapshots import Snapshot, SnapshotState
from aetherium.domain.tasks import Attempt, Priority, Task, TaskSpec, TaskState, TypeLimit
from aetherium.domain.vms import VM, VMSpec, VMState
from aetherium.domain.workers import Usage, Worker, WorkerInfo

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
        self, vm_id: str, *, owner: str, spec: VMSpec, heir: str | None, at: datetime
    ) -> VM | None:
        """Hand a running VM that `owner` holds on to `heir` with a new spec, created `at`; None if it is not
        there, not running or no longer that owner's. Raises AlreadyExists for the name."""
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
        self, *, states: Collection[JobState] = (), limit: int | None = None, before: str = ""
    ) -> Sequence[Job]:
        """Newest first, by id; `before`: only ids below this one."""
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


class TaskFilter(TypedDict, total=False):
    """Which tasks; all of what is given has to fit."""

    states: Collection[TaskState]
    types: Collection[str]
    project_id: str
    group: str
    worker_id: str
    priority: Priority
    error_code: str
    schedule_id: str
    ids: Collection[str]


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be accepted.

    Args:
        id: made by the caller, so that what belongs to it can be named before.
        sealed: its secrets, which nobody but its worker can open.
        worker_id: placed on this worker at once.
    """

    id: str
    project_id: str
    spec: TaskSpec
    idempotency_key: str = ""
    schedule_id: str | None = None
    sealed: bytes = b""
    worker_id: str | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """A task and the worker that shall claim it."""

    task_id: str
    worker_id: str


@dataclass(frozen=True, slots=True)
class Load:
    """What is in use: by worker and by project, and how many tasks of each type are placed or running."""

    workers: Mapping[str, Usage]
    projects: Mapping[str, Usage]
    types: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Args:
        attempt: the fencing token; the write is refused (dropped, and told) if it is not the present one.
        state: ``succeeded``, ``cancelled``, ``dead``; ``queued`` hands it back without a failure, and
            ``scheduled`` asks for a retry, which the store makes ``dead`` when no attempt is left.
        delay_s: until the retry.
    """

    task_id: str
    attempt: int
    state: TaskState
    result: Mapping[str, object] | None = None
    ok: bool = True
    error_code: str = ""
    error: str = ""
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Lane:
    """Waiting tasks that take turns with others: of one priority, project and type."""

    rank: int
    project_id: str
    type: str


class TaskRepository(Protocol):
    """Tasks and their attempts. Each change of state is a compare-and-set, also where it is done in bulk."""

    async def accept(self, tasks: Sequence[NewTask]) -> Sequence[Task]:
        """Record tasks, in the order given. One whose idempotency key its project has used already is not
        recorded again: the first one comes back. Raises AlreadyExists (`unique_key`; details: ``task_id``),
        NotFound (`after`). All or none."""
        ...

    async def get(self, task_id: str) -> Task: ...

    async def find(self, ref: str) -> Task: ...

    async def list(
        self, *, limit: int = 100, before: str = "", **where: Unpack[TaskFilter]
    ) -> Sequence[Task]:
        """Newest first; `before`: only ids below this one."""
        ...

    async def count(self, **where: Unpack[TaskFilter]) -> Mapping[TaskState, int]: ...

    async def recent(self, project_id: str, seconds: float) -> int:
        """How many a project had accepted in the last so many seconds."""
        ...

    async def attempts(self, task_id: str) -> Sequence[Attempt]:
        """By number."""
        ...

    async def sealed(self, task_id: str) -> bytes:
        """The secrets that were accepted with it, sealed; empty once it has ended, unless it is dead."""
        ...

    # For the orchestrator.

    async def lanes(self, *, without_types: Collection[str] = (), limit: int = 1000) -> Sequence[Lane]:
        """Lanes that have a queued task that is not placed. Costs the same whatever waits in them."""
        ...

    async def waiting(self, lanes: Sequence[Lane], *, limit: int) -> Sequence[Task]:
        """Of each lane the first `limit` queued tasks that are not placed, oldest first."""
        ...

    async def place(self, placements: Sequence[Placement], epoch: LeaderEpoch) -> Collection[str]:
        """Give queued tasks to workers; the ids of those that could be. Raises Conflict when `epoch` is
        over."""
        ...

    async def explain(self, reasons: Mapping[str, str], *, park: bool) -> None:
        """Say why queued tasks wait. With `park` they are left out of `lanes` until `unpark`: nothing but a
        new or changed worker can help."""
        ...

    async def unpark(self) -> int: ...

    async def unclaimed(self, older_than_s: float, *, limit: int = 500) -> Sequence[Task]:
        """Placed that long ago and not claimed: the ticket was lost, and is to be sent again. Their placing
        counts from now on. Those whose worker takes nothing any more are taken from it instead."""
        ...

    async def release_due(self, *, limit: int = 1000) -> int:
        """Scheduled tasks whose time has come become queued."""
        ...

    async def end_overdue(self, *, limit: int = 500) -> Sequence[Task]:
        """Past their deadline: what waits is dead, what runs is being cancelled. Those that run are returned."""
        ...

    async def give_up(self, ids: Collection[str], *, error_code: str, error: str) -> Sequence[Task]:
        """What waits is dead, for this reason."""
        ...

    async def load(self) -> Load:
        """What is placed and running, and the VMs that outlive tasks."""
        ...

    # For workers.

    async def claim(
        self, claims: Sequence[tuple[str, int]], worker_id: str, incarnation: int
    ) -> Sequence[Task]:
        """Begin attempts: (task, the attempt that is to begin). Those that are queued, placed on this worker
        and so far; the others are passed over. Nothing if the worker's incarnation is over or its lease out."""
        ...

    async def finish(self, outcomes: Sequence[Outcome]) -> Sequence[Task]:
        """End attempts: the tasks as they are now, for those that were still theirs (fencing). Frees the tasks
        that wait for them."""
        ...

    async def held(self, worker_id: str) -> Sequence[tuple[str, int, TaskState]]:
        """What the rows say that a worker is running: task, attempt, state."""
        ...

    # For people.

    async def cancel(self, ids: Collection[str], *, reason: str = "") -> Sequence[Task]:
        """What waits is cancelled; what runs is ``cancelling``, which its worker has to be told; ended ones
        are passed over. The tasks that were changed."""
        ...

    async def requeue(self, ids: Collection[str]) -> Sequence[Task]:
        """Dead ones are queued again, with fresh attempts."""
        ...

    async def discard(self, ids: Collection[str]) -> Sequence[Task]: ...

    async def purge(self, keep_s: float, *, limit: int = 1000) -> Sequence[str]:
        """Remove ended tasks (dead ones too) that are older than they are kept; their ids."""
        ...


class WorkerRepository(Protocol):
    """Workers."""

    async def register(self, info: WorkerInfo, *, lease_s: float) -> Worker:
        """A worker begins, or begins anew: a new incarnation. What an earlier one had claimed has failed with
        ``worker_lost`` (retried as usual), what was placed on it waits for placement again."""
        ...

    async def heartbeat(self, info: WorkerInfo, incarnation: int, *, lease_s: float) -> Worker:
        """Renew the lease. Raises Conflict if this incarnation is over: lost, or registered anew."""
        ...

    async def drain(self, ref: str, *, on: bool) -> Worker: ...

    async def stop(self, worker_id: str, incarnation: int) -> None:
        """It has ended in good order."""
        ...

    async def get(self, worker_id: str) -> Worker: ...

    async def find(self, ref: str) -> Worker:
        """By id, name or prefix of the id."""
        ...

    async def list(self, *, private: bool = False) -> Sequence[Worker]: ...

    async def lose(self) -> Sequence[Worker]:
        """Those whose lease has run out become ``lost``, with what `register` says of their tasks."""
        ...

    async def remove(self, worker_id: str) -> bool:
        """Forget one that is lost or stopped: its VMs' rows fail. Raises Conflict for one that is present."""
        ...


class ScheduleRepository(Protocol):
    """Schedules. A name is unique in its project."""

    async def add(self, schedule: Schedule) -> None: ...

    async def find(self, ref: str) -> Schedule: ...

    async def list(self) -> Sequence[Schedule]: ...

    async def due(self, *, limit: int = 100) -> Sequence[tuple[Schedule, datetime]]:
        """Those whose time has come, and the store's time."""
        ...

    async def advance(self, before: Schedule, after: Schedule) -> bool:
        """Replace the row if `next_at` is still the one of `before`: of two that fire, one gets True."""
        ...

    async def remove(self, schedule_id: str) -> bool: ...


class ProjectRepository(Protocol):
    """Projects; the project ``default`` is always there."""

    async def add(self, project: Project) -> None: ...

    async def find(self, ref: str) -> Project: ...

    async def list(self) -> Sequence[Project]: ...

    async def set_quota(self, project_id: str, quota: Quota) -> Project: ...


class QueueRepository(Protocol):
    """What operators set of the queues: priorities that are paused, limits of task types."""

    async def paused(self) -> Collection[Priority]: ...

    async def pause(self, priority: Priority, *, on: bool) -> None: ...

    async def limits(self) -> Mapping[str, TypeLimit]: ...

    async def limit(self, task_type: str, limit: TypeLimit | None) -> None: ...

    async def take(self, wanted: Mapping[str, int]) -> Mapping[str, int]:
        """Of each limited type how many may begin now (token bucket, refilled by the store's clock); these
        are taken. A number below zero gives back what was not used."""
        ...


class ImageRepository(Protocol):
    """Which digest a tag means, in the whole installation."""

    async def tags(self) -> Mapping[str, str]: ...

    async def record(self, digest: str, tags: Sequence[str], size_bytes: int) -> None:
        """The image is there, under these tags, which are taken from the images that had them."""
        ...

    async def forget(self, digest: str) -> None: ...


class EventRepository(Protocol):
    """The log of events. Repositories write into its outbox in the transaction that makes the fact."""

    async def emit(self, events: Sequence[Event]) -> None:
        """Into the outbox."""
        ...

    async def relay(self, epoch: LeaderEpoch, *, limit: int = 500) -> Sequence[Event]:
        """Move events from the outbox to the log, where they get their `seq`; those that were moved."""
        ...

    async def list(self, *, after: int = 0, limit: int = 500, types: Collection[str] = ()) -> Sequence[Event]:
        """By `seq`; a type that ends in ``*`` stands for all that begin so."""
        ...

    async def last(self) -> int:
        """The newest `seq`."""
        ...

    async def purge(self, keep_s: float, *, limit: int = 5000) -> int: ...


@dataclass(frozen=True, slots=True)
class LeaderEpoch:
    """The leadership that a process has: of two processes that both believe to lead, the store refuses the
    one with the older `number`."""

    name: str
    holder: str
    number: int


class LeaderRepository(Protocol):
    """Who leads."""

    async def lead(self, name: str, holder: str, *, lease_s: float) -> LeaderEpoch | None:
        """Take or renew the leadership; None while another one has it."""
        ...

    async def resign(self, epoch: LeaderEpoch) -> None: ...


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

    async def transaction(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Do all that `work` does with the store it is given in one transaction. `work` may be cut nowhere,
        and touches nothing but that store."""
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
