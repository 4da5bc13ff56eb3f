"""Output as a stream of chunks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from aetherium.client.executions import Output
from aetherium.domain.guest import OutputChunk


@asynccontextmanager
async def chunks(opened: AbstractAsyncContextManager[Output]) -> AsyncIterator[AsyncIterator[OutputChunk]]:
    """What `opened` writes."""
    async with opened as output:
        yield aiter(output)
