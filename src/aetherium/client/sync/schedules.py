"""Schedules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aetherium.client.sync.loop import Part
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.schedules import Schedule, ScheduleSpec
from aetherium.domain.tasks import Task


class Schedules(Part):
    """``client.schedules``; see aetherium.client.schedules."""

    def create(self, name: str, spec: ScheduleSpec, *, project: str = DEFAULT_PROJECT) -> Schedule:
        """A schedule; its first task is made at its next time."""
        return self._loop.run(self._client.schedules.create(name, spec, project=project))

    def list(self) -> Sequence[Schedule]:
        """All, by name."""
        return self._loop.run(self._client.schedules.list())

    def iterate(self) -> Iterator[Schedule]:
        """The same as `list`, page by page."""
        return self._loop.each(self._client.schedules.iterate())

    def get(self, ref: str) -> Schedule:
        """One schedule."""
        return self._loop.run(self._client.schedules.get(ref))

    def pause(self, ref: str) -> Schedule:
        """Let it make no tasks until it is resumed."""
        return self._loop.run(self._client.schedules.pause(ref))

    def resume(self, ref: str) -> Schedule:
        """Let it go on with its next time."""
        return self._loop.run(self._client.schedules.resume(ref))

    def run_now(self, ref: str) -> Task:
        """Make its task now, beside its times."""
        return self._loop.run(self._client.schedules.run_now(ref))

    def delete(self, ref: str) -> None:
        """Delete it; the tasks that it has made stay."""
        self._loop.run(self._client.schedules.delete(ref))
