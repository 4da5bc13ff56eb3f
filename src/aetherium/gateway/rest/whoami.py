"""``/v1/whoami``: who the caller is to the platform."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from starlette.responses import Response

from aetherium.domain.identity import ALL, Role
from aetherium.gateway import wire
from aetherium.gateway.platform import PlatformDep, ServicesDep

router = APIRouter(prefix="/whoami", tags=["members"])


@dataclass(frozen=True, slots=True)
class WhoAmI:
    """The caller. `installation`: administers it. `project_id`, `project`: where it is; null: everywhere."""

    subject: str
    role: Role
    installation: bool
    project_id: str | None
    project: str | None
    permissions: tuple[str, ...]


@router.get("", response_model=WhoAmI)
async def get(platform: PlatformDep, services: ServicesDep) -> Response:
    """Who calls, in which project, and what they may do."""
    caller = platform.caller
    project = None
    if caller.project_id is not None:
        project = (await services.store.projects.find(caller.project_id)).name
    found = WhoAmI(
        caller.subject,
        caller.role,
        caller.installation,
        caller.project_id,
        project,
        tuple(sorted(permission for permission in ALL if caller.may(permission))),
    )
    return wire.reply(found)
