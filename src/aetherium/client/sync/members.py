"""Members of projects."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.client.sync.loop import Part
from aetherium.domain.identity import Member, Role


class Members(Part):
    """``client.members``; see aetherium.client.members."""

    def add(self, subject: str, role: Role, *, project: str = "") -> Member:
        """Make somebody a member."""
        return self._loop.run(self._client.members.add(subject, role, project=project))

    def list(self, *, project: str = "") -> Sequence[Member]:
        """By subject."""
        return self._loop.run(self._client.members.list(project=project))

    def set_role(self, subject: str, role: Role, *, project: str = "") -> Member:
        """Change what a member may do."""
        return self._loop.run(self._client.members.set_role(subject, role, project=project))

    def remove(self, subject: str, *, project: str = "") -> None:
        """Take somebody out."""
        self._loop.run(self._client.members.remove(subject, project=project))
