"""``/v1/whoami``: who the caller is to the platform."""

from __future__ import annotations

from starlette.responses import Response

from aetherium.domain.identity import WhoAmI
from aetherium.gateway import wire
from aetherium.gateway.platform import PlatformDep
from aetherium.gateway.rest.part import Part

router = Part(prefix="/whoami", tags=["members"])


@router.get("", response_model=WhoAmI)
async def get(platform: PlatformDep) -> Response:
    """Who calls, in which project, and what they may do."""
    return wire.reply(await platform.whoami())
