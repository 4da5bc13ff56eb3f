"""Projects."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.client import values
from aetherium.client.paging import collect
from aetherium.client.transport import Transport, quoted
from aetherium.domain.projects import Project, Quota


class Projects:
    """``client.projects``. A `ref` is an id, a name, or a unique prefix of an id."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def list(self) -> Sequence[Project]:
        """All, by name."""
        return await collect(self._http, "/v1/projects", Project)

    async def create(self, name: str, *, quota: Quota | None = None) -> Project:
        """A project."""
        body = {"name": name, "quota": values.dump(quota or Quota())}
        found = await self._http.call("POST", "/v1/projects", body=body, key=values.new_key())
        return values.load(Project, found)

    async def get(self, ref: str) -> Project:
        """One project."""
        return values.load(Project, await self._http.call("GET", f"/v1/projects/{quoted(ref)}"))

    async def set_quota(self, ref: str, quota: Quota) -> Project:
        """Replace what it may use at once; what runs goes on."""
        path = f"/v1/projects/{quoted(ref)}/quota"
        return values.load(Project, await self._http.call("PUT", path, body=values.dump(quota)))
