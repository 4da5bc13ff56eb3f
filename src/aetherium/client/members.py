"""Members of projects, and who one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aetherium.client import values
from aetherium.client.paging import collect
from aetherium.client.transport import Transport, quoted
from aetherium.domain.identity import Member, Role


@dataclass(frozen=True, slots=True)
class WhoAmI:
    """The caller, as the gateway knows it.

    Args:
        installation: administers it.
        project_id, project: where it is; None: everywhere.
    """

    subject: str
    role: Role
    installation: bool
    project_id: str | None
    project: str | None
    permissions: tuple[str, ...]


class Members:
    """``client.members``: of a project by id or name, empty: the caller's. A `subject` is
    ``oidc:ISSUER#SUBJECT``, or SUBJECT alone of the gateway's issuer."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def add(self, subject: str, role: Role, *, project: str = "") -> Member:
        """Make somebody a member."""
        body = {"subject": subject, "role": str(role), "project": project}
        return values.load(Member, await self._http.call("POST", "/v1/members", body=body))

    async def list(self, *, project: str = "") -> Sequence[Member]:
        """By subject."""
        return await collect(self._http, "/v1/members", Member, {"project": project})

    async def set_role(self, subject: str, role: Role, *, project: str = "") -> Member:
        """Change what a member may do."""
        path, params, body = f"/v1/members/{quoted(subject)}", {"project": project}, {"role": str(role)}
        return values.load(Member, await self._http.call("PUT", path, params=params, body=body))

    async def remove(self, subject: str, *, project: str = "") -> None:
        """Take somebody out."""
        path = f"/v1/members/{quoted(subject)}"
        await self._http.call("DELETE", path, params={"project": project})
