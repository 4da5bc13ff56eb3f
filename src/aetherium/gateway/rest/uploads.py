"""``/v1/uploads``: bring the files of a job."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Request
from starlette.responses import Response

from aetherium.domain.uploads import Upload
from aetherium.gateway import wire
from aetherium.gateway.describing import OCTETS, errors, takes
from aetherium.gateway.digests import Checked, parse
from aetherium.gateway.platform import PlatformDep
from aetherium.gateway.rest.part import Part

router = Part(prefix="/uploads", tags=["jobs"])


@router.post(
    "",
    status_code=201,
    response_model=Upload,
    openapi_extra=takes(OCTETS),
    responses=errors("limit_exceeded", "unsupported"),
)
async def create(
    request: Request,
    platform: PlatformDep,
    content_digest: Annotated[
        str, Header(description="Digest of the body (RFC 9530): `sha-256=:BASE64:`.")
    ] = "",
) -> Response:
    """Upload what a job is to begin with: a tar archive (plain, gzip, bzip2, xz), a zip archive or a git
    bundle. Jobs of the same project name it for an hour: `{"kind": "upload", "upload_id": …}`."""
    return wire.reply(await platform.uploads.take(Checked(request.stream(), parse(content_digest))), 201)
