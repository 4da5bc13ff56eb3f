"""API keys and members. Nobody gives away more than they have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aetherium.domain.errors import Forbidden
from aetherium.domain.identity import ALL, APIKey, Caller, Member, Role
from aetherium.gateway.access.access import Access
from aetherium.gateway.access.rules import guards

if TYPE_CHECKING:
    from aetherium.services.identity.keys import IssuedKey, KeyService
    from aetherium.services.identity.members import MemberService


class Keys:
    """See KeyService. Who is in a project sees that one's keys."""

    def __init__(self, access: Access, inner: KeyService) -> None:
        self._access = access
        self._inner = inner

    @guards("keys:write", "key.create")
    async def create(
        self,
        name: str,
        *,
        project: str = "",
        installation: bool = False,
        role: Role = Role.OPERATOR,
        scopes: frozenset[str] | None = None,
        expires_in_s: float | None = None,
    ) -> IssuedKey:
        """A key of a project, empty: the caller's; or of the installation's administrators."""
        caller = self._access.caller
        within = None if installation else await self._access.choose(project)
        _enough(caller, Caller("new", role, installation, within or caller.project_id, scopes))
        return await self._inner.create(
            name,
            project_id=within,
            role=role,
            scopes=scopes,
            expires_in_s=expires_in_s,
            by=caller.subject,
        )

    @guards("keys:read", "key.list")
    async def list(self) -> Sequence[APIKey]:
        return await self._access.store.api_keys.list()

    @guards("keys:read", "key.get")
    async def get(self, ref: str) -> APIKey:
        return await self._access.store.api_keys.find(ref)

    @guards("keys:write", "key.rotate")
    async def rotate(self, ref: str, *, grace_s: float) -> IssuedKey:
        key = await self._access.store.api_keys.find(ref)
        caller = self._access.caller
        own = Caller("new", key.role, key.project_id is None, key.project_id, key.scopes)
        _enough(caller, own)
        return await self._inner.rotate(key.id, grace_s=grace_s, by=caller.subject)

    @guards("keys:write", "key.revoke")
    async def revoke(self, ref: str) -> APIKey:
        return await self._inner.revoke((await self._access.store.api_keys.find(ref)).id)


class Members:
    """See MemberService; of one project, empty: the caller's. Who administers the installation may leave a
    project without administrator."""

    def __init__(self, access: Access, inner: MemberService) -> None:
        self._access = access
        self._inner = inner

    @guards("members:write", "member.add")
    async def add(self, subject: str, role: Role, *, project: str = "") -> Member:
        within, caller = await self._access.choose(project), self._access.caller
        _enough(caller, Caller("new", role, project_id=within))
        return await self._inner.add(within, subject, role, by=caller.subject)

    @guards("members:read", "member.list")
    async def list(self, *, project: str = "") -> Sequence[Member]:
        return await self._inner.list(await self._access.choose(project))

    @guards("members:write", "member.set_role")
    async def set_role(self, subject: str, role: Role, *, project: str = "") -> Member:
        within, caller = await self._access.choose(project), self._access.caller
        _enough(caller, Caller("new", role, project_id=within))
        return await self._inner.set_role(within, subject, role, keep_admin=not caller.installation)

    @guards("members:write", "member.remove")
    async def remove(self, subject: str, *, project: str = "") -> None:
        within = await self._access.choose(project)
        await self._inner.remove(within, subject, keep_admin=not self._access.caller.installation)


def _enough(giver: Caller, taker: Caller) -> None:
    """Raises Forbidden for what the giver may not do itself, or only in one project."""
    if taker.installation and giver.project_id is not None:
        raise Forbidden(
            "A key of the whole installation cannot be made within a project.",
            hint="Leave the project out, as an administrator of the installation.",
            permission="keys:write",
        )
    for permission in sorted(ALL):
        if taker.may(permission):
            giver.require(permission)
