"""Tasks as people read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aetherium.cli.formats import age, duration, moment, pairs, safe

if TYPE_CHECKING:
    from aetherium.cli.output import Output
    from aetherium.cli.runtime import Command
    from aetherium.domain.tasks import Attempt, Task


async def warn_if_idle(command: Command, task: Task) -> None:
    """Say so if nothing is there that could carry it out."""
    from aetherium.domain.tasks import WAITING

    if task.state in WAITING and task.worker_id is None and not await command.stays():
        command.output.warn("Nothing carries tasks out now: it waits for `aetherium up`.")


def table(output: Output, tasks: Sequence[Task], *, empty: str) -> None:
    """One line for each."""
    headers = ("ID", "TYPE", "STATE", "PRIORITY", "GROUP", "ATTEMPTS", "AGE", "WHY")
    output.table(headers, [_row(task) for task in tasks], empty=empty)


def _row(task: Task) -> tuple[str, ...]:
    return (
        task.id,
        task.spec.type,
        task.state.value,
        task.spec.priority.value,
        safe(task.spec.group),
        str(task.attempt),
        age(task.created_at),
        safe(task.reason or task.error_code),
    )


def facts(task: Task, attempts: Sequence[Attempt]) -> list[tuple[str, str]]:
    """All about one."""
    spec = task.spec
    found = [
        ("id", task.id),
        ("type", spec.type),
        ("state", task.state.value),
        ("why", safe(task.reason)),
        ("error", safe(f"{task.error_code}: {task.error}" if task.error_code else task.error)),
        ("priority", spec.priority.value),
        ("project", task.project_id),
        ("group", safe(spec.group)),
        ("labels", safe(pairs(spec.labels))),
        ("unique", safe(spec.unique_key)),
        ("after", ", ".join(spec.after)),
        ("schedule", task.schedule_id or ""),
        ("worker", task.worker_id or ""),
        ("failures", f"{task.failures} of {spec.retry.max_attempts}" if task.failures else ""),
        ("timeout", duration(spec.timeout_s) if spec.timeout_s else ""),
        ("created", moment(task.created_at)),
        ("not before", moment(task.run_at)),
        ("deadline", moment(spec.deadline)),
        ("started", moment(task.started_at)),
        ("ended", moment(task.ended_at)),
        ("payload", _json(spec.payload)),
        ("result", "" if task.result is None else _json(task.result)),
    ]
    return found + [(f"attempt {attempt.number}", _attempt(attempt)) for attempt in attempts]


def _attempt(attempt: Attempt) -> str:
    took = ""
    if attempt.ended_at is not None:
        took = f", {duration((attempt.ended_at - attempt.started_at).total_seconds())}"
    how = attempt.error_code or ("succeeded" if attempt.ended_at else "running")
    said = f": {safe(attempt.error)}" if attempt.error else ""
    return f"{moment(attempt.started_at)}{took}, {how}{said}"


def _json(value: object) -> str:
    return safe(json.dumps(value, ensure_ascii=False, default=str))
