"""The bytes of an upload: `data` as often as need be, then `end`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

from aetherium.domain.errors import ChannelClosed
from aetherium.protocol.generated import files_pb2, uploads_pb2

Part = TypeVar(
    "Part",
    files_pb2.FileServiceWriteRequest,
    files_pb2.FileServiceArchiveInRequest,
    uploads_pb2.UploadServiceCreateRequest,
)


async def pieces(parts: AsyncIterator[Part]) -> AsyncIterator[bytes]:
    """One that breaks off must not be taken for whole, so its end is said. Raises ChannelClosed where it is
    missing."""
    async for part in parts:
        if part.HasField("end"):
            return
        yield part.data
    raise ChannelClosed("The upload broke off before its end.")
