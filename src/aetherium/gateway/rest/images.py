"""``/v1/images``: build, import, list, inspect, tag, remove, prune. References may hold slashes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse, Response

from aetherium.domain.images import Image
from aetherium.gateway import wire
from aetherium.gateway.describing import ONCE, errors, lines
from aetherium.gateway.idempotency import OnceDep
from aetherium.gateway.listing import image_facts, tagged
from aetherium.gateway.lists import BySort, Name
from aetherium.gateway.platform import DrainDep, PlatformDep
from aetherium.gateway.progress import with_progress
from aetherium.gateway.rest import answers, bodies
from aetherium.gateway.rest.part import Part
from aetherium.gateway.streams import ndjson

router = Part(prefix="/images", tags=["images"])

_STEP = {"stage": "Installing packages", "fraction": 0.4, "detail": "git"}
_MADE = {
    **lines({"progress": _STEP}, {"image": "<Image>"}),
    **errors(*ONCE, "image_failed", "tool_missing"),
}


@router.post("/build", response_class=Response, responses=_MADE)
async def build(
    platform: PlatformDep, drain: DrainDep, once: OnceDep, body: bodies.BuildBody = None
) -> Response:
    """Build an image from Debian packages. Lines: `{"progress"}` …, `{"image"}`."""
    given = body or bodies.ImageBuild()

    async def work(report: Callable[[Any], None]) -> Image:
        return await platform.images.build(given.recipe, cache=given.cache, progress=report)

    return ndjson(with_progress(once.progressing(work), result="image"), drain)


@router.post("/import", response_class=Response, responses=_MADE)
async def import_image(
    platform: PlatformDep, drain: DrainDep, once: OnceDep, body: bodies.ImportBody
) -> Response:
    """Make an OCI image bootable. Lines: `{"progress"}` …, `{"image"}`."""

    async def work(report: Callable[[Any], None]) -> Image:
        return await platform.images.import_image(body.source, tag=body.tag, progress=report)

    return ndjson(with_progress(once.progressing(work), result="image"), drain)


@router.post("/prune", response_model=answers.Freed)
async def prune(platform: PlatformDep, body: bodies.PruneBody = None) -> Response:
    """Remove what nobody uses; answers the bytes that became free."""
    tagged = (body or bodies.ImagePrune()).tagged
    return JSONResponse({"freed_bytes": await platform.images.prune(tagged=tagged)})


@router.get("", response_model=answers.Page[Image])
async def index(platform: PlatformDep, listing: BySort, name: Name = "") -> Response:
    """All images, newest first; their names are their tags."""
    return listing.reply(listing.page(tagged(await platform.images.list(), name), image_facts))


@router.post("/{ref:path}/tags", response_model=Image)
async def tag(ref: str, body: bodies.TagBody, platform: PlatformDep) -> Response:
    """Give an image a further tag."""
    return wire.reply(await platform.images.tag(ref, body.tag))


@router.get("/{ref:path}", response_model=Image)
async def get(ref: str, platform: PlatformDep) -> Response:
    """One image by tag, digest, or unique prefix of it, with its provenance."""
    return wire.reply(await platform.images.get(ref))


@router.delete("/{ref:path}", response_model=answers.Freed, responses=errors("conflict"))
async def remove(ref: str, platform: PlatformDep) -> Response:
    """Remove a tag, and the image with its last tag; by digest, the image with all its tags."""
    return JSONResponse({"freed_bytes": await platform.images.remove(ref)})
