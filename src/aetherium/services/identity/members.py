"""Members of projects: people whom an OpenID Connect provider knows."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.domain.errors import InvalidInput, NotFound
from aetherium.domain.identity import Member, Role
from aetherium.interfaces.store import Store

_MARK = "oidc:"
_LONGEST = 255


def subject_of(issuer: str, name: str) -> str:
    """How somebody whom `issuer` calls `name` is called here."""
    return f"{_MARK}{issuer}#{name}"


class MemberService:
    """See the methods. Projects are meant by id; people by subject, or as the issuer calls them.

    `keep_admin`: refuse (Conflict) what would leave the project without administrator.

    Args:
        issuer: the provider of those whose subject names none; empty: there is none.
    """

    def __init__(self, store: Store, issuer: str = "") -> None:
        self._store = store
        self._issuer = issuer

    async def add(self, project_id: str, subject: str, role: Role, *, by: str) -> Member:
        """Raises InvalidInput, AlreadyExists, NotFound (project)."""
        member = Member(project_id, self._subject(subject), role, await self._store.now(), by)
        await self._store.members.add(member)
        return member

    async def list(self, project_id: str) -> Sequence[Member]:
        """By subject."""
        return await self._store.members.list(project_id)

    async def get(self, project_id: str, subject: str) -> Member:
        """Raises NotFound."""
        return await self._store.members.get(project_id, self._subject(subject))

    async def set_role(self, project_id: str, subject: str, role: Role, *, keep_admin: bool = True) -> Member:
        """Raises NotFound, Conflict."""
        found = self._subject(subject)
        return await self._store.members.set_role(project_id, found, role, keep_admin=keep_admin)

    async def remove(self, project_id: str, subject: str, *, keep_admin: bool = True) -> None:
        """Raises NotFound, Conflict."""
        found = self._subject(subject)
        if not await self._store.members.remove(project_id, found, keep_admin=keep_admin):
            raise NotFound("member", found, hint="See: aetherium member list")

    def _subject(self, text: str) -> str:
        whole = text if text.startswith(_MARK) else subject_of(self._issuer, text)
        issuer, _, name = whole.removeprefix(_MARK).partition("#")
        if not text or not text.isprintable() or len(whole) > _LONGEST or not issuer or not name:
            raise InvalidInput(
                f"{text!r} is nobody's subject.",
                hint="Write oidc:ISSUER#SUBJECT, or with the setting oidc_issuer SUBJECT alone.",
                field="subject",
            )
        return whole
