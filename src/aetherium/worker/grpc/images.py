# ruff: noqa: N802  # the methods are named as in the .proto file
"""The parts of this worker's images, for other workers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from grpc.aio import ServicerContext

from aetherium.domain.errors import NotFound
from aetherium.images.blobs import AskPeer
from aetherium.protocol.generated import worker_pb2 as pb

Context = ServicerContext[Any, Any]


async def no_images(name: str, _: int) -> AsyncGenerator[bytes, None]:
    """Of a host that gives its images to nobody."""
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece
    raise NotFound("image part", name)


class ImageCalls:
    """See worker.proto."""

    def __init__(self, parts: AskPeer) -> None:
        self._parts = parts

    async def ReadImagePart(
        self, request: pb.ReadImagePartRequest, context: Context
    ) -> AsyncIterator[pb.ReadImagePartResponse]:
        async with aclosing(self._parts(request.name, request.offset)) as pieces:
            async for piece in pieces:
                yield pb.ReadImagePartResponse(data=piece)
