# ruff: noqa: N802  # the methods are named as in the .proto file
"""Uploads."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aetherium.gateway.grpc.calls import Context, Service
from aetherium.gateway.grpc.lingering import lingering
from aetherium.gateway.grpc.pieces import pieces
from aetherium.gateway.grpc.values import to_message
from aetherium.protocol.generated import uploads_pb2 as pb
from aetherium.protocol.generated.uploads_pb2_grpc import UploadServiceServicer


class UploadCalls(Service, UploadServiceServicer):
    """See uploads.proto."""

    async def Create(
        self, request_iterator: AsyncIterator[pb.UploadServiceCreateRequest], context: Context
    ) -> pb.UploadServiceCreateResponse:
        async with lingering(request_iterator):
            platform = await self._platform_of(context)
            taken = await platform.uploads.take(pieces(request_iterator))
        return pb.UploadServiceCreateResponse(upload=to_message(pb.Upload, taken))
