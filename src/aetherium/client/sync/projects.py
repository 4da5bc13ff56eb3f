"""Projects."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.client.sync.loop import Part
from aetherium.domain.projects import Project, Quota


class Projects(Part):
    """``client.projects``; see aetherium.client.projects."""

    def list(self) -> Sequence[Project]:
        """All, by name."""
        return self._loop.run(self._client.projects.list())

    def create(self, name: str, *, quota: Quota | None = None) -> Project:
        """A project."""
        return self._loop.run(self._client.projects.create(name, quota=quota))

    def get(self, ref: str) -> Project:
        """One project."""
        return self._loop.run(self._client.projects.get(ref))

    def set_quota(self, ref: str, quota: Quota) -> Project:
        """Replace what it may use at once; what runs goes on."""
        return self._loop.run(self._client.projects.set_quota(ref, quota))
