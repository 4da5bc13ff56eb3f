"""A task: one durable unit of work.

::

    blocked ──► scheduled ──► queued ──► running ──► succeeded
       │            │          │  ▲         │
       │            │          │  └─────────┤ an attempt failed and another is allowed (backoff: via
       │            │          │            │ scheduled), or its worker handed it back
       │            │          │            ├──► dead        no attempt is left, or the error is permanent
       ▼            ▼          ▼            ▼
       └────────► cancelled ◄── ──────── cancelling

``blocked`` waits for other tasks, ``scheduled`` for its time, ``queued`` for a worker: placed on one or, with
a visible reason, not yet. A dead task (a dead letter) can be requeued, which gives it fresh attempts, or
discarded. Whatever waits can also become ``dead``: by its deadline, or because a task that it waits for did
not succeed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from aetherium.domain.errors import InvalidInput
from aetherium.domain.lifecycle import Lifecycle


class TaskState(StrEnum):
    """Where a task is in its life."""

    BLOCKED = "blocked"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"


_GIVEN_UP = frozenset({TaskState.CANCELLED, TaskState.DEAD})
TASK_LIFECYCLE: Lifecycle[TaskState] = Lifecycle(
    "Task",
    {
        TaskState.BLOCKED: frozenset({TaskState.SCHEDULED, TaskState.QUEUED}) | _GIVEN_UP,
        TaskState.SCHEDULED: frozenset({TaskState.QUEUED}) | _GIVEN_UP,
        TaskState.QUEUED: frozenset({TaskState.RUNNING}) | _GIVEN_UP,
        TaskState.RUNNING: frozenset(
            {TaskState.SUCCEEDED, TaskState.QUEUED, TaskState.SCHEDULED, TaskState.CANCELLING}
        )
        | _GIVEN_UP,
        TaskState.CANCELLING: frozenset({TaskState.SUCCEEDED}) | _GIVEN_UP,
        TaskState.DEAD: frozenset({TaskState.QUEUED, TaskState.DISCARDED}),
        TaskState.SUCCEEDED: frozenset(),
        TaskState.CANCELLED: frozenset(),
        TaskState.DISCARDED: frozenset(),
    },
)
WAITING = frozenset({TaskState.BLOCKED, TaskState.SCHEDULED, TaskState.QUEUED})
ACTIVE = frozenset({TaskState.RUNNING, TaskState.CANCELLING})
# A dead task may come back, but nothing happens to it by itself any more.
ENDED = frozenset({TaskState.SUCCEEDED, TaskState.DEAD, TaskState.CANCELLED, TaskState.DISCARDED})


class Priority(StrEnum):
    """Named queues, most urgent first."""

    CRITICAL = "critical"
    HIGH = "high"
    DEFAULT = "default"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for the most urgent."""
        return list(Priority).index(self)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a task needs of a worker; None or empty: anything will do.

    Args:
        vcpus, memory_mib: of the VM that it runs in; 0 for tasks that need none.
        driver: a driver's name, or ``auto``: any.
        image: the image's tag or digest; workers that hold it are preferred.
        labels: the worker has all of these.
        worker_id: this worker and no other.
        machine: of the driver, what a snapshot needs (WorkerInfo.machines).
        near: this worker if it fits and has room, or else another one.
    """

    vcpus: int = 0
    memory_mib: int = 0
    driver: str = "auto"
    image: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    worker_id: str | None = None
    machine: str = ""
    near: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """How failed attempts are repeated: after a pause drawn evenly from 0 to min(cap, base * 2**n), where
    n failures came before (exponential backoff with full jitter).

    Args:
        max_attempts: how many attempts may fail before the task is dead; 1 to 100.
        base_s, cap_s: seconds.
    """

    max_attempts: int = 3
    base_s: float = 1.0
    cap_s: float = 300.0

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= 100:
            raise InvalidInput(
                f"max_attempts is {self.max_attempts}.", hint="Use 1 to 100.", field="max_attempts"
            )
        if not 0 <= self.base_s <= self.cap_s <= 86400:
            raise InvalidInput(
                f"The backoff goes from {self.base_s:g} to {self.cap_s:g} seconds.",
                hint="Use 0 to a day, the base not above the cap.",
                field="retry",
            )

    def ceiling_s(self, failures: int) -> float:
        """The longest pause after so many failures, the present one included, in seconds."""
        return min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 64))


@dataclass(frozen=True, slots=True)
class TypeLimit:
    """How fast, and how many at once, tasks of one type may begin; None: as fast as can be.

    Args:
        per_second: on average; `burst` may begin at once after a pause.
    """

    per_second: float | None = None
    burst: int = 1
    concurrency: int | None = None

    def __post_init__(self) -> None:
        if self.per_second is not None and not 0 < self.per_second <= 1e6:
            raise InvalidInput(
                f"per_second is {self.per_second:g}.", hint="Give more than 0.", field="per_second"
            )
        if self.burst < 1 or (self.concurrency is not None and self.concurrency < 1):
            raise InvalidInput("burst and concurrency are at least 1.", field="burst")


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What a caller asks for.

    Args:
        payload: JSON types only, checked by the task's type. Not for secrets: it is stored.
        run_at: not before; None: as soon as possible.
        deadline: whatever has not ended by then is cancelled and dead.
        timeout_s: for one attempt; None: the type's.
        after: ids of tasks that have to succeed before; should one of them not, this one is dead.
        group: a name that several tasks share, to be looked at and cancelled as one.
        unique_key: while a task with this key has not ended, and for `unique_s` seconds after it was
            accepted, a further one is refused (AlreadyExists).
        keep_s: how long the row stays after its end; None: the setting `task_keep_s`.
    """

    type: str
    payload: Mapping[str, object] = field(default_factory=dict)
    priority: Priority = Priority.DEFAULT
    demand: Demand = field(default_factory=Demand)
    retry: Retry = field(default_factory=Retry)
    timeout_s: float | None = None
    run_at: datetime | None = None
    deadline: datetime | None = None
    after: tuple[str, ...] = ()
    group: str = ""
    unique_key: str = ""
    unique_s: float = 0.0
    keep_s: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, seconds in (("timeout_s", self.timeout_s), ("keep_s", self.keep_s)):
            if seconds is not None and not 0 < seconds <= 365 * 86400:
                raise InvalidInput(
                    f"{name} is {seconds:g}.", hint="Give seconds above 0, at most a year.", field=name
                )
        if not 0 <= self.unique_s <= 365 * 86400:
            raise InvalidInput(
                f"unique_s is {self.unique_s:g}.", hint="Give seconds, at most a year.", field="unique_s"
            )
        if self.unique_s and not self.unique_key:
            raise InvalidInput("unique_s needs a unique_key.", field="unique_key")
        for name, text, most in (("group", self.group, 200), ("unique_key", self.unique_key, 200)):
            if len(text) > most:
                raise InvalidInput(
                    f"The {name} has {len(text)} characters.", hint=f"At most {most}.", field=name
                )
        if len(self.after) > 1000:
            raise InvalidInput(
                f"The task waits for {len(self.after)} others.", hint="At most 1000.", field="after"
            )
        for name, moment in (("run_at", self.run_at), ("deadline", self.deadline)):
            if moment is not None and moment.tzinfo is None:
                raise InvalidInput(
                    f"{name} is {moment.isoformat()}, without a time zone.",
                    hint="Add one, for example Z for UTC.",
                    field=name,
                )


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's claim on a running task: the worker that has to be alive for it, and the token that fences
    its writes. The lease itself is the worker's, renewed by its heartbeats (ADR 7)."""

    worker_id: str
    fencing_token: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a task. `error_code` is empty for one that succeeded, or that was handed back
    (``handed_back``) which does not count as a failure."""

    number: int
    started_at: datetime
    ended_at: datetime | None = None
    worker_id: str | None = None
    error_code: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One task as recorded.

    Args:
        attempt: the number of the latest attempt; 0 before the first. It only grows, and it is the fencing
            token: a write that carries an older one is refused.
        failures: attempts that failed since the task was accepted or requeued, against `spec.retry`.
        worker_id: that it is placed on, or runs on, or ran on last.
        reason: why it waits, for people; empty when it does not.
        result: what its handler answered. `ok`: whether that counts as success for tasks that wait for it.
    """

    id: str
    project_id: str
    spec: TaskSpec
    state: TaskState
    created_at: datetime
    updated_at: datetime
    run_at: datetime | None = None
    attempt: int = 0
    failures: int = 0
    worker_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
    result: Mapping[str, object] | None = None
    ok: bool | None = None
    error_code: str = ""
    error: str = ""
    schedule_id: str | None = None

    @property
    def lease(self) -> Lease | None:
        """The claim on it, while it runs."""
        if self.state not in ACTIVE or self.worker_id is None:
            return None
        return Lease(self.worker_id, self.attempt)
