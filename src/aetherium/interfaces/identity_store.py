"""Where API keys and members live. See store.py for what all repositories have in common."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from aetherium.domain.identity import APIKey, Member, Role


@dataclass(frozen=True, slots=True)
class Membership:
    """What somebody is in one project."""

    member: Member
    project: str


class APIKeyRepository(Protocol):
    """API keys. Of a key itself no more than its prefix and its hash gets here."""

    async def add(self, key: APIKey, hashed: str) -> None:
        """Raises AlreadyExists when another key has the prefix."""
        ...

    async def find(self, ref: str) -> APIKey:
        """By id, by the key's prefix, or by name: of several with a name the newest that is not revoked."""
        ...

    async def list(self) -> Sequence[APIKey]:
        """Newest first."""
        ...

    async def valid(self, prefix: str) -> tuple[APIKey, str] | None:
        """The key and its hash, as long as it is neither revoked nor expired."""
        ...

    async def installation_has_one(self) -> bool:
        """Whether there was ever a key of the installation's administrators."""
        ...

    async def replace(self, key_id: str, by: APIKey, hashed: str, *, grace_s: float) -> APIKey:
        """Add `by`; the old key expires in `grace_s`, if not before. The new one.

        Raises Conflict if the old one is revoked or expired."""
        ...

    async def revoke(self, key_id: str) -> APIKey:
        """From now on it is not valid; one that was revoked stays as it is."""
        ...

    async def used(self, ids: Collection[str]) -> None:
        """Note that they were used about now; unknown ids are passed over."""
        ...


class MemberRepository(Protocol):
    """Members of projects.

    `keep_admin`: raises Conflict where the project would have no administrator behind it.
    """

    async def add(self, member: Member) -> None:
        """Raises AlreadyExists, and NotFound for the project."""
        ...

    async def get(self, project_id: str, subject: str) -> Member: ...

    async def list(self, project_id: str) -> Sequence[Member]:
        """By subject."""
        ...

    async def of(self, subject: str) -> Sequence[Membership]:
        """What somebody is, by the names of the projects."""
        ...

    async def set_role(self, project_id: str, subject: str, role: Role, *, keep_admin: bool) -> Member: ...

    async def remove(self, project_id: str, subject: str, *, keep_admin: bool) -> bool:
        """Whether it was there."""
        ...
