"""``/v1/api-keys``: list, create, get, rotate, revoke. A key is seen in the answer that makes it, and then no
more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Body, Query
from starlette.responses import Response

from aetherium.domain.identity import APIKey, Role
from aetherium.gateway import wire
from aetherium.gateway.describing import errors
from aetherium.gateway.listing import named_facts
from aetherium.gateway.lists import BySort, Name
from aetherium.gateway.platform import PlatformDep
from aetherium.gateway.rest import answers
from aetherium.gateway.rest.part import Part
from aetherium.gateway.wire import refusing_unknown_keys
from aetherium.services.identity.keys import GRACE_S, IssuedKey

router = Part(prefix="/api-keys", tags=["API keys"])


@dataclass(frozen=True, slots=True)
class KeyCreate:
    """`project`: id or name; empty: the caller's. `installation`: of the installation's administrators
    instead. `scopes` narrow what the role allows; null: they do not."""

    name: str
    project: str = ""
    installation: bool = False
    role: Role | None = None
    scopes: tuple[str, ...] | None = None
    expires_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class KeyRotate:
    """`grace_s`: how long the old key is valid yet."""

    grace_s: float = GRACE_S


CreateBody = Annotated[KeyCreate, refusing_unknown_keys(KeyCreate), Body()]
RotateBody = Annotated[KeyRotate | None, refusing_unknown_keys(KeyRotate), Body()]


@router.get("", response_model=answers.Page[APIKey])
async def index(
    platform: PlatformDep,
    listing: BySort,
    name: Name = "",
    revoked: Annotated[bool | None, Query(description="Only those that were revoked, or were not.")] = None,
) -> Response:
    """All keys, newest first; what is known of them, not the keys themselves."""
    found = [key for key in await platform.keys.list() if revoked in (None, key.revoked_at is not None)]
    return listing.reply(listing.page(found, named_facts, name=name))


@router.post("", status_code=201, response_model=IssuedKey)
async def create(body: CreateBody, platform: PlatformDep) -> Response:
    """Create a key, which may do no more than its maker; `secret` is the key, and is not shown again."""
    default = Role.ADMIN if body.installation else Role.OPERATOR
    made = await platform.keys.create(
        body.name,
        project=body.project,
        installation=body.installation,
        role=body.role or default,
        scopes=None if body.scopes is None else frozenset(body.scopes),
        expires_in_s=body.expires_in_s,
    )
    return wire.reply(made, 201)


@router.get("/{ref}", response_model=APIKey)
async def get(ref: str, platform: PlatformDep) -> Response:
    """One key by id, name, its prefix, or unique prefix of its id."""
    return wire.reply(await platform.keys.get(ref))


@router.post("/{ref}/rotate", status_code=201, response_model=IssuedKey, responses=errors("conflict"))
async def rotate(ref: str, platform: PlatformDep, body: RotateBody = None) -> Response:
    """Make another key that may do the same; the old one is valid for a while yet."""
    return wire.reply(await platform.keys.rotate(ref, grace_s=(body or KeyRotate()).grace_s), 201)


@router.delete("/{ref}", response_model=APIKey)
async def revoke(ref: str, platform: PlatformDep) -> Response:
    """Revoke a key; within 5 seconds no gateway takes it any more."""
    return wire.reply(await platform.keys.revoke(ref))
