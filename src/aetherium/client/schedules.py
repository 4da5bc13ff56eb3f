"""Schedules."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.client import values
from aetherium.client.transport import Transport
from aetherium.client.vms import quoted
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
        return values.load(Schedule, await self._http.call("POST", "/v1/schedules", body=body))

    async def list(self) -> Sequence[Schedule]:
        """All, by name."""
        return values.load_all(Schedule, (await self._http.call("GET", "/v1/schedules"))["items"])

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
        return values.load(Task, await self._http.call("POST", f"/v1/schedules/{quoted(ref)}/run"))

    async def delete(self, ref: str) -> None:
        """Delete it; the tasks that it has made stay."""
        await self._http.call("DELETE", f"/v1/schedules/{quoted(ref)}")
