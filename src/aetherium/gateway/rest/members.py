"""``/v1/members``: add, list, set role, remove. People as the identity provider knows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Body, Path, Query
from starlette.responses import Response

from aetherium.domain.identity import Member, Role
from aetherium.gateway import wire
from aetherium.gateway.describing import errors
from aetherium.gateway.listing import Sort, member_facts
from aetherium.gateway.lists import BySort, Name
from aetherium.gateway.platform import PlatformDep
from aetherium.gateway.rest import answers
from aetherium.gateway.rest.part import Part
from aetherium.gateway.wire import refusing_unknown_keys

router = Part(prefix="/members", tags=["members"])


@dataclass(frozen=True, slots=True)
class MemberAdd:
    """`subject`: `oidc:ISSUER#SUBJECT`, or SUBJECT alone of the configured issuer. `project`: id or name;
    empty: the caller's."""

    subject: str
    role: Role
    project: str = ""


@dataclass(frozen=True, slots=True)
class MemberRole:
    """What somebody may do from now on."""

    role: Role


AddBody = Annotated[MemberAdd, refusing_unknown_keys(MemberAdd), Body()]
RoleBody = Annotated[MemberRole, refusing_unknown_keys(MemberRole), Body()]
Subject = Annotated[str, Path(description="`oidc:ISSUER#SUBJECT`, or SUBJECT alone; percent-encoded.")]
Project = Annotated[str, Query(description="Id or name; empty: the caller's.")]


@router.get("", response_model=answers.Page[Member])
async def index(
    platform: PlatformDep,
    listing: BySort,
    project: Project = "",
    name: Name = "",
    role: Annotated[Role | None, Query(description="Only those with this role.")] = None,
) -> Response:
    """The members of a project, by subject, which is their name."""
    found = [one for one in await platform.members.list(project=project) if role in (None, one.role)]
    return listing.reply(listing.page(found, member_facts, name=name, default=Sort.NAME))


@router.post("", status_code=201, response_model=Member, responses=errors("already_exists", "not_found"))
async def add(body: AddBody, platform: PlatformDep) -> Response:
    """Make somebody a member of a project."""
    return wire.reply(await platform.members.add(body.subject, body.role, project=body.project), 201)


@router.put("/{subject:path}", response_model=Member, responses=errors("conflict"))
async def set_role(
    subject: Subject, body: RoleBody, platform: PlatformDep, project: Project = ""
) -> Response:
    """Change what a member may do. The last administrator of a project stays one."""
    return wire.reply(await platform.members.set_role(subject, body.role, project=project))


@router.delete("/{subject:path}", status_code=204, responses=errors("conflict"))
async def remove(subject: Subject, platform: PlatformDep, project: Project = "") -> Response:
    """Take somebody out of a project; not its last administrator."""
    await platform.members.remove(subject, project=project)
    return Response(status_code=204)
