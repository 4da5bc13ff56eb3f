"""``/v1/secrets``: set, list, get, delete, rotate keys. Values go in and never come out."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from aetherium.domain.secrets import KeyRotation, Secret, SecretScope
from aetherium.gateway import wire
from aetherium.gateway.describing import errors
from aetherium.gateway.listing import Sort, secret_facts
from aetherium.gateway.lists import BySort, Name
from aetherium.gateway.platform import PlatformDep
from aetherium.gateway.rest import answers, bodies
from aetherium.gateway.rest.part import Part

router = Part(prefix="/secrets", tags=["secrets"])

Scope = Annotated[SecretScope, Query(description="In which executions it may be used.")]
Target = Annotated[str, Query(description="The image's tag or digest, or the job's name, that it is for.")]


@router.put("/{name}", response_model=Secret, responses={201: {"model": Secret}})
async def put(
    name: str,
    body: bodies.SecretBody,
    platform: PlatformDep,
    scope: Scope = SecretScope.PROJECT,
    target: Target = "",
) -> Response:
    """Make a secret (201), or rotate it: the value gets the next version."""
    secret = await platform.secrets.set(name, body.value, scope=scope, target=target)
    return wire.reply(secret, 201 if secret.version == 1 else 200)


@router.get("", response_model=answers.Page[Secret])
async def index(
    platform: PlatformDep,
    listing: BySort,
    name: Name = "",
    scope: Annotated[SecretScope | None, Query(description="Only those of this scope.")] = None,
) -> Response:
    """All secrets of the project, by name; what is known of them, not their values."""
    found = [secret for secret in await platform.secrets.list() if scope in (None, secret.scope)]
    return listing.reply(listing.page(found, secret_facts, name=name, default=Sort.NAME))


@router.get("/{name}", response_model=Secret)
async def get(
    name: str, platform: PlatformDep, scope: Scope = SecretScope.PROJECT, target: Target = ""
) -> Response:
    """What is known of a secret; not its value."""
    return wire.reply(await platform.secrets.get(name, scope=scope, target=target))


@router.delete("/{name}", status_code=204)
async def delete(
    name: str, platform: PlatformDep, scope: Scope = SecretScope.PROJECT, target: Target = ""
) -> Response:
    """Delete a secret with all its versions; executions that were given it keep it."""
    await platform.secrets.delete(name, scope=scope, target=target)
    return Response(status_code=204)


@router.post("/rotate-key", response_model=KeyRotation, responses=errors("unsupported"))
async def rotate_key(platform: PlatformDep, body: bodies.RotationBody = None) -> Response:
    """Wrap the data keys of all secrets under a new key. It may be repeated when it was cut."""
    master = body is not None and body.master
    return wire.reply(await platform.secrets.rotate_key(master=master))
