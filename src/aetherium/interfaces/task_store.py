"""Where tasks live: acceptance, placement, claims, ends. See store.py for what all stores have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypedDict, Unpack

from aetherium.domain.tasks import Attempt, Priority, Task, TaskSpec, TaskState, TypeLimit
from aetherium.domain.workers import Usage


@dataclass(frozen=True, slots=True)
class LeaderEpoch:
    """The leadership that a process has: of two processes that both believe to lead, the store refuses the
    one with the older `number`."""

    name: str
    holder: str
    number: int


class TaskFilter(TypedDict, total=False):
    """Which tasks; all of what is given has to fit. `created_after`: from then on; `created_before`: until
    then, without that moment itself."""

    states: Collection[TaskState]
    types: Collection[str]
    project_id: str
    group: str
    worker_id: str
    priority: Priority
    error_code: str
    schedule_id: str
    ids: Collection[str]
    labels: Mapping[str, str]
    created_after: datetime
    created_before: datetime


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
        self, *, limit: int = 100, before: str = "", oldest_first: bool = False, **where: Unpack[TaskFilter]
    ) -> Sequence[Task]:
        """Newest first, by id; `before`: only what comes behind this id in the order asked for."""
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
        """Past their deadline: what waits is dead, what runs is being cancelled and returned."""
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
        and so far; the others are passed over. Nothing if the worker's incarnation or its lease is over."""
        ...

    async def finish(self, outcomes: Sequence[Outcome]) -> Sequence[Task]:
        """End attempts: the tasks as they are now, for those that were still theirs (fencing). Frees the
        tasks that wait for them."""
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
