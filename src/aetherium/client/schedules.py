"""Schedules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from aetherium.client import values
from aetherium.client.paging import iterate
from aetherium.client.transport import Transport, quoted
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.schedules import Schedule, ScheduleSpec
from aetherium.domain.tasks import Task


class Schedules:
    """``client.schedules``. A `ref` is an id, a name, or a unique prefix of an id."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def create(self, name: str, spec: ScheduleSpec, *, project: str = DEFAULT_PROJECT) -> Schedule:
        """A schedule; its first task is made at its next time."""
        body = {"name": name, "spec": values.dump(spec), "project": project}
        found = await self._http.call("POST", "/v1/schedules", body=body, key=values.new_key())
        return values.load(Schedule, found)

    async def list(self) -> Sequence[Schedule]:
        """All, by name."""
        return [schedule async for schedule in self.iterate()]

    def iterate(self) -> AsyncIterator[Schedule]:
        """The same as `list`, page by page."""
        return iterate(self._http, "/v1/schedules", Schedule)

    async def get(self, ref: str) -> Schedule:
        """One schedule."""
        return values.load(Schedule, await self._http.call("GET", f"/v1/schedules/{quoted(ref)}"))

    async def pause(self, ref: str) -> Schedule:
        """Let it make no tasks until it is resumed."""
        return values.load(Schedule, await self._http.call("POST", f"/v1/schedules/{quoted(ref)}/pause"))

    async def resume(self, ref: str) -> Schedule:
        """Let it go on with its next time."""
        return values.load(Schedule, await self._http.call("POST", f"/v1/schedules/{quoted(ref)}/resume"))

    async def run_now(self, ref: str) -> Task:
        """Make its task now, beside its times."""
        found = await self._http.call("POST", f"/v1/schedules/{quoted(ref)}/run", key=values.new_key())
        return values.load(Task, found)

    async def delete(self, ref: str) -> None:
        """Delete it; the tasks that it has made stay."""
        await self._http.call("DELETE", f"/v1/schedules/{quoted(ref)}")
