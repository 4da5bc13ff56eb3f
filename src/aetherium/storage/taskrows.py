"""Tasks as rows and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aetherium.domain.tasks import Task, TaskSpec, TaskState
from aetherium.interfaces.task_store import NewTask
from aetherium.storage.codec import dump, load
from aetherium.storage.tables import tasks

# Everything but the sealed secrets, which only their worker has to read.
COLUMNS = tuple(column for column in tasks.c if column.name != "sealed")


def to_task(row: Mapping[Any, Any]) -> Task:
    """A row of COLUMNS as a task."""
    return Task(
        id=row["id"],
        project_id=row["project_id"],
        spec=load(TaskSpec, row["spec"]),
        state=TaskState(row["state"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        run_at=row["run_at"],
        attempt=row["attempt"],
        failures=row["failures"],
        worker_id=row["worker_id"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        reason=row["reason"],
        result=row["result"],
        ok=row["ok"],
        error_code=row["error_code"],
        error=row["error"],
        schedule_id=row["schedule_id"],
    )


def new_row(new: NewTask, at: datetime) -> dict[str, Any]:
    """The row of a task that is accepted `at`, waiting for nothing."""
    spec = new.spec
    later = spec.run_at is not None and spec.run_at > at
    return {
        "id": new.id,
        "project_id": new.project_id,
        "type": spec.type,
        "rank": spec.priority.rank,
        "state": TaskState.SCHEDULED if later else TaskState.QUEUED,
        "task_group": spec.group,
        "idempotency_key": new.idempotency_key or None,
        "unique_key": spec.unique_key or None,
        "unique_until": None,
        "schedule_id": new.schedule_id,
        "created_at": at,
        "updated_at": at,
        "run_at": spec.run_at,
        "ready_at": None if later else at,
        "deadline": spec.deadline,
        "placed_at": None if new.worker_id is None else at,
        "started_at": None,
        "ended_at": None,
        "keep_s": spec.keep_s,
        "parked": 0,
        "blockers": 0,
        "worker_id": new.worker_id,
        "attempt": 0,
        "failures": 0,
        "max_attempts": spec.retry.max_attempts,
        "vcpus": spec.demand.vcpus,
        "memory_mib": spec.demand.memory_mib,
        "reason": "",
        "ok": None,
        "error_code": "",
        "error": "",
        "spec": dump(spec),
        "result": None,
        "sealed": new.sealed or None,
    }


def states(*wanted: TaskState) -> sa.TextClause:
    """The condition that a task has one of these states; literal, so that partial indexes can serve."""
    names = ", ".join(f"'{state}'" for state in sorted(wanted))
    return sa.text(f"state IN ({names})")
