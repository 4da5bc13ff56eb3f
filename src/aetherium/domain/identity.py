"""Who calls, and what they may do.

A role is a set of permissions in one project; a permission is ``resource:read`` or ``resource:write``. Who
administers the installation has, beside everything in every project, what belongs to no project: workers,
queues, images, projects themselves. Scopes narrow what a role allows; they never widen it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from aetherium.domain.errors import Forbidden, InvalidInput


class Role(StrEnum):
    """What a member or key may do in its project; each includes those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


_VIEWER = frozenset(
    f"{resource}:read"
    for resource in (
        "vms",
        "executions",
        "snapshots",
        "images",
        "jobs",
        "tasks",
        "schedules",
        "events",
        "projects",
    )
)
# Files are not for viewers: reading them means to ask the VM, and they hold whatever a job was given.
_OPERATOR = _VIEWER | {
    "vms:write",
    "executions:write",
    "files:read",
    "files:write",
    "snapshots:write",
    "jobs:write",
    "tasks:write",
    "schedules:write",
    "secrets:read",
    "secrets:use",
}
_ADMIN = _OPERATOR | {
    "secrets:write",
    "members:read",
    "members:write",
    "keys:read",
    "keys:write",
    "audit:read",
}
PERMISSIONS: Mapping[Role, frozenset[str]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.ADMIN: _ADMIN,
}
# Beside all the others, for who administers the installation.
INSTALLATION = frozenset(
    {"projects:write", "images:write", "workers:read", "workers:write", "queues:read", "queues:write"}
    | {"cluster:read", "cluster:write"}
)
ALL = _ADMIN | INSTALLATION


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request.

    Args:
        subject: ``key:ID``, ``oidc:ISSUER#SUBJECT``, ``local`` (over the Unix socket) or ``system``.
        installation: administers the installation.
        project_id: the project of the request; None: all of them, which only the installation's
            administrators may mean.
        scopes: permissions, ``resource:*`` or ``*:read``; None: all that the role allows.
        address: where it comes from; empty: from this host.
        request_id: finds the request in logs and in the audit log.
    """

    subject: str
    role: Role = Role.VIEWER
    installation: bool = False
    project_id: str | None = None
    scopes: frozenset[str] | None = None
    address: str = ""
    request_id: str = ""

    def __post_init__(self) -> None:
        if self.project_id is None and not self.installation:
            raise ValueError("Only administrators of the installation see all projects.")

    def may(self, permission: str) -> bool:
        """Whether role and scopes allow it."""
        allowed = ALL if self.installation else PERMISSIONS[self.role]
        if permission not in allowed:
            return False
        resource, _, action = permission.partition(":")
        wide = {permission, f"{resource}:*", f"*:{action}", "*"}
        return self.scopes is None or bool(wide & self.scopes)

    def require(self, permission: str) -> None:
        """Raises Forbidden."""
        if not self.may(permission):
            raise Forbidden(
                f"This needs the permission {permission}, which {self.subject} does not have here.",
                hint="Ask an administrator of the project for a role or key that has it.",
                permission=permission,
            )

    def within(self, project_id: str) -> Caller:
        """The same in one project."""
        return replace(self, project_id=project_id)


@dataclass(frozen=True, slots=True)
class WhoAmI:
    """A caller, as it is told of itself. `installation`: administers it. `project_id`, `project`: where it
    is; None: everywhere."""

    subject: str
    role: Role
    installation: bool
    project_id: str | None
    project: str | None
    permissions: tuple[str, ...]


LOCAL = Caller("local", Role.ADMIN, installation=True)


def checked_scopes(scopes: frozenset[str]) -> frozenset[str]:
    """Raises InvalidInput for one that allows nothing."""
    resources = {permission.partition(":")[0] for permission in ALL}
    known = ALL | {f"{name}:*" for name in resources} | {"*", "*:read", "*:write"}
    for scope in sorted(scopes):
        if scope not in known:
            raise InvalidInput(
                f"There is no scope {scope!r}.",
                hint=f"There are: {', '.join(sorted(known))}.",
                field="scopes",
            )
    return scopes


@dataclass(frozen=True, slots=True)
class APIKey:
    """A key as recorded; the key itself is shown once and not kept.

    Args:
        project_id: None: a key of the installation's administrators.
        prefix: the key's beginning, by which it is found.
        used_at: about when; it is not written for every request.
    """

    id: str
    name: str
    prefix: str
    project_id: str | None
    role: Role
    created_at: datetime
    created_by: str
    scopes: frozenset[str] | None = None
    expires_at: datetime | None = None
    used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody's role in a project.

    Args:
        subject: as in Caller.
    """

    project_id: str
    subject: str
    role: Role
    created_at: datetime
    created_by: str
