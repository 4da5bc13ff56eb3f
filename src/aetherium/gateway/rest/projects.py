"""``/v1/projects``: list, create, get, quota."""

from __future__ import annotations

from starlette.responses import Response

from aetherium.domain.projects import Project
from aetherium.gateway import wire
from aetherium.gateway.describing import ONCE, errors
from aetherium.gateway.idempotency import OnceDep
from aetherium.gateway.listing import Sort, named_facts
from aetherium.gateway.lists import BySort, Name
from aetherium.gateway.platform import PlatformDep
from aetherium.gateway.rest import answers, bodies
from aetherium.gateway.rest.part import Part

router = Part(prefix="/projects", tags=["projects"])


@router.get("", response_model=answers.Page[Project])
async def index(platform: PlatformDep, listing: BySort, name: Name = "") -> Response:
    """All projects, by name."""
    found = await platform.projects.list()
    return listing.reply(listing.page(found, named_facts, name=name, default=Sort.NAME))


@router.post("", status_code=201, response_model=Project, responses=errors(*ONCE, "already_exists"))
async def create(body: bodies.ProjectBody, platform: PlatformDep, once: OnceDep) -> Response:
    """Create a project."""
    return await once.reply(lambda: platform.projects.create(body.name, quota=body.quota, mark=once.mark))


@router.get("/{ref}", response_model=Project)
async def get(ref: str, platform: PlatformDep) -> Response:
    """One project by id, name, or unique prefix of its id."""
    return wire.reply(await platform.projects.get(ref))


@router.put("/{ref}/quota", response_model=Project)
async def set_quota(ref: str, body: bodies.QuotaBody, platform: PlatformDep) -> Response:
    """Replace what it may use at once; null or left out: no limit. What runs goes on."""
    return wire.reply(await platform.projects.set_quota(ref, body))
