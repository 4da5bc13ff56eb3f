"""A schedule: cron or an interval that creates tasks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aetherium.domain.errors import InvalidInput
from aetherium.domain.tasks import TaskSpec

_SHORTEST_S = 1.0


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """What a caller asks for: exactly one of `cron` and `every_s`.

    Args:
        cron: five fields (minute hour day month weekday), as Debian's cron understands them, daylight saving
            included: a time that is skipped runs right after the gap, one that comes twice runs once.
        every_s: seconds between two times, counted from the schedule's creation.
        zone: an IANA time zone for `cron`.
        task: what is created each time.
        overlap: create a task though the last one has not ended.
        catch_up: times that passed while nothing ran are made good, each; False: only the latest of them.
    """

    task: TaskSpec
    cron: str = ""
    every_s: float | None = None
    zone: str = "UTC"
    overlap: bool = True
    catch_up: bool = False

    def __post_init__(self) -> None:
        if bool(self.cron) == (self.every_s is not None):
            raise InvalidInput(
                "A schedule needs a cron expression or an interval.", hint="Give exactly one.", field="cron"
            )
        if self.every_s is not None and not _SHORTEST_S <= self.every_s <= 366 * 86400:
            raise InvalidInput(
                f"every_s is {self.every_s:g}.", hint="Give 1 second to a year.", field="every_s"
            )
        if self.task.run_at or self.task.deadline or self.task.after:
            raise InvalidInput(
                "A schedule's task cannot have run_at, deadline or after.",
                hint="Each time makes a task of its own; use timeout_s.",
                field="task",
            )


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule as recorded. `next_at`: None while it is paused."""

    id: str
    project_id: str
    name: str
    spec: ScheduleSpec
    created_at: datetime
    next_at: datetime | None
    last_at: datetime | None = None
    last_task_id: str | None = None
    paused: bool = False
