"""When schedules are due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from aetherium.domain.errors import InvalidInput
from aetherium.domain.schedules import Schedule, ScheduleSpec


def check(spec: ScheduleSpec) -> None:
    """Raise InvalidInput for a zone or an expression that cannot be used."""
    _zone(spec.zone)
    if spec.cron:
        _next_cron(spec.cron, spec.zone, datetime(2026, 1, 1, tzinfo=UTC))


def next_after(spec: ScheduleSpec, moment: datetime, origin: datetime) -> datetime:
    """The first time after `moment`, in UTC. `origin`: the schedule's creation."""
    if spec.every_s is None:
        return _next_cron(spec.cron, spec.zone, moment)
    turns = max(0, (moment - origin) // timedelta(seconds=spec.every_s)) + 1
    return origin + turns * timedelta(seconds=spec.every_s)


def fired(schedule: Schedule, now: datetime) -> tuple[datetime, Schedule]:
    """The time that is due, and the schedule afterwards. Only for one whose `next_at` has passed."""
    due = schedule.next_at or now
    spec, origin = schedule.spec, schedule.created_at
    if not spec.catch_up:
        due = _latest(spec, due, now, origin)
    return due, replace(schedule, next_at=next_after(spec, due, origin), last_at=due)


def _latest(spec: ScheduleSpec, due: datetime, now: datetime, origin: datetime) -> datetime:
    if spec.every_s is not None:
        return max(due, next_after(spec, now, origin) - timedelta(seconds=spec.every_s))
    while (later := next_after(spec, due, origin)) <= now:
        due = later
    return due


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            f"There is no time zone {name!r}.",
            hint="Use a name of the IANA database, for example Europe/Zurich.",
            field="zone",
        ) from error


def _next_cron(expression: str, zone: str, moment: datetime) -> datetime:
    try:
        return next(CronSim(expression, moment.astimezone(_zone(zone)))).astimezone(UTC)
    except (CronSimError, StopIteration) as error:
        raise InvalidInput(
            f"The cron expression {expression!r} cannot be used{f': {error}' if str(error) else ''}.",
            hint="Five fields: minute hour day month weekday, for example '*/15 8-18 * * mon-fri'.",
            field="cron",
        ) from error
