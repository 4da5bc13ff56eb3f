# ruff: noqa: N802  # the methods are named as in the .proto file
"""Images."""

from __future__ import annotations

from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.values import to_message, to_messages
from aetherium.protocol.generated import images_pb2 as pb
from aetherium.protocol.generated.images_pb2_grpc import ImageServiceServicer


class ImageCalls(Service, ImageServiceServicer):
    """See images.proto."""

    async def List(
        self, request: pb.ImageServiceListRequest, context: Context
    ) -> pb.ImageServiceListResponse:
        platform = await self._platform_of(context)
        return pb.ImageServiceListResponse(images=to_messages(pb.Image, await platform.images.list()))

    async def Get(self, request: pb.ImageServiceGetRequest, context: Context) -> pb.ImageServiceGetResponse:
        platform = await self._platform_of(context)
        found = await platform.images.get(request.ref)
        return pb.ImageServiceGetResponse(image=to_message(pb.Image, found))
