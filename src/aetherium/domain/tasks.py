"""A task: one durable unit of work.

::

    scheduled ──► queued ──► running ──► succeeded
        │           │  ▲        │
        │           │  └────────┤ an attempt failed and another is allowed (backoff: via scheduled)
        │           │           ├──► dead        no attempt is left, or the error is permanent
        ▼           ▼           ▼
        └────► cancelled ◄── cancelling

A dead task (a dead letter) can be requeued, which gives it fresh attempts, or discarded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from aetherium.domain.lifecycle import Lifecycle


class TaskState(StrEnum):
    """Where a task is in its life."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"


TASK_LIFECYCLE: Lifecycle[TaskState] = Lifecycle(
    "Task",
    {
        TaskState.SCHEDULED: frozenset({TaskState.QUEUED, TaskState.CANCELLED, TaskState.DEAD}),
        TaskState.QUEUED: frozenset({TaskState.RUNNING, TaskState.CANCELLED, TaskState.DEAD}),
        TaskState.RUNNING: frozenset(
            {
                TaskState.SUCCEEDED,
                TaskState.QUEUED,
                TaskState.SCHEDULED,
                TaskState.DEAD,
                TaskState.CANCELLING,
                TaskState.CANCELLED,
            }
        ),
        TaskState.CANCELLING: frozenset({TaskState.CANCELLED, TaskState.SUCCEEDED, TaskState.DEAD}),
        TaskState.DEAD: frozenset({TaskState.QUEUED, TaskState.DISCARDED}),
        TaskState.SUCCEEDED: frozenset(),
        TaskState.CANCELLED: frozenset(),
        TaskState.DISCARDED: frozenset(),
    },
)


class Priority(StrEnum):
    """Named queues, most urgent first."""

    CRITICAL = "critical"
    HIGH = "high"
    DEFAULT = "default"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's claim on a running task: until when, and the token that fences its writes."""

    worker_id: str
    until: datetime
    fencing_token: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a task."""

    number: int
    started_at: datetime
    ended_at: datetime | None = None
    worker_id: str | None = None
    error_code: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One task as recorded. `payload` and `result` hold JSON types only."""

    id: str
    type: str
    payload: Mapping[str, object]
    state: TaskState
    created_at: datetime
    updated_at: datetime
    priority: Priority = Priority.DEFAULT
    max_attempts: int = 1
    attempts: tuple[Attempt, ...] = ()
    run_at: datetime | None = None
    deadline: datetime | None = None
    lease: Lease | None = None
    result: Mapping[str, object] | None = None
    idempotency_key: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
