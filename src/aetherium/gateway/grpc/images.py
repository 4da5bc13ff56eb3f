# ruff: noqa: N802  # the methods are named as in the .proto file
"""Images."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from aetherium.domain.images import ImageRecipe
from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lists import listing_of
from aetherium.gateway.grpc.once import answered
from aetherium.gateway.grpc.values import from_message, to_message, to_messages
from aetherium.gateway.listing import image_facts, tagged
from aetherium.gateway.progress import Report, Step, steps
from aetherium.protocol.generated import images_pb2 as pb
from aetherium.protocol.generated.images_pb2_grpc import ImageServiceServicer


class ImageCalls(Service, ImageServiceServicer):
    """See images.proto."""

    async def List(
        self, request: pb.ImageServiceListRequest, context: Context
    ) -> pb.ImageServiceListResponse:
        platform = await self._platform_of(context)
        found = tagged(await platform.images.list(), request.name)
        page = listing_of(request).page(found, image_facts)
        return pb.ImageServiceListResponse(images=to_messages(pb.Image, page.items), next_cursor=page.cursor)

    async def Get(self, request: pb.ImageServiceGetRequest, context: Context) -> pb.ImageServiceGetResponse:
        platform = await self._platform_of(context)
        found = await platform.images.get(request.ref)
        return pb.ImageServiceGetResponse(image=to_message(pb.Image, found))

    async def Build(
        self, request: pb.ImageServiceBuildRequest, context: Context
    ) -> AsyncIterator[pb.ImageServiceBuildResponse]:
        platform = await self._platform_of(context)
        recipe = from_message(request.recipe, ImageRecipe) if request.HasField("recipe") else None
        cache = request.cache if request.HasField("cache") else True

        async def build(report: Report) -> pb.Image:
            async def work() -> pb.Image:
                made = await platform.images.build(recipe, cache=cache, progress=report)
                return to_message(pb.Image, made)

            return await answered(self._once(platform, context, request), pb.Image, work)

        async with aclosing(steps(build)) as found:
            async for step in found:
                yield pb.ImageServiceBuildResponse(**_shown(step))

    async def Import(
        self, request: pb.ImageServiceImportRequest, context: Context
    ) -> AsyncIterator[pb.ImageServiceImportResponse]:
        platform = await self._platform_of(context)
        tag = request.tag if request.HasField("tag") else None

        async def bring(report: Report) -> pb.Image:
            async def work() -> pb.Image:
                made = await platform.images.import_image(request.source, tag=tag, progress=report)
                return to_message(pb.Image, made)

            return await answered(self._once(platform, context, request), pb.Image, work)

        async with aclosing(steps(bring)) as found:
            async for step in found:
                yield pb.ImageServiceImportResponse(**_shown(step))

    async def Tag(self, request: pb.ImageServiceTagRequest, context: Context) -> pb.ImageServiceTagResponse:
        platform = await self._platform_of(context)
        tagged = await platform.images.tag(request.ref, request.tag)
        return pb.ImageServiceTagResponse(image=to_message(pb.Image, tagged))

    async def Remove(
        self, request: pb.ImageServiceRemoveRequest, context: Context
    ) -> pb.ImageServiceRemoveResponse:
        platform = await self._platform_of(context)
        return pb.ImageServiceRemoveResponse(freed_bytes=await platform.images.remove(request.ref))

    async def Prune(
        self, request: pb.ImageServicePruneRequest, context: Context
    ) -> pb.ImageServicePruneResponse:
        platform = await self._platform_of(context)
        freed = await platform.images.prune(tagged=request.tagged)
        return pb.ImageServicePruneResponse(freed_bytes=freed)


def _shown(step: Step) -> dict[str, Any]:
    """The field of a response for one step, or for the image at last."""
    if step.last:
        return {"image": step.value}
    return {"progress": to_message(pb.ImageProgress, step.value)}
