"""Streams of bytes, cut anew."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable

PIECE = 256 * 1024


async def gathered(data: AsyncIterable[bytes] | bytes, size: int = PIECE) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of at least `size`, but for the last one: each costs a way to a thread."""
    if isinstance(data, bytes):
        if data:
            yield data
        return
    waiting = bytearray()
    async for piece in data:
        waiting += piece
        if len(waiting) >= size:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)
