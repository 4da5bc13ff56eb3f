"""Refusals that reach a client which still sends.

A status that arrives while a client sends is lost on some of them (gRPC for Python tells only that sending
failed), as with an HTTP connection that is closed too early; so what is refused is taken for a moment more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aetherium.domain.errors import AetheriumError

# Enough for the rest of an upload of some megabytes; who has more to send learns it the hard way.
LINGER_S = 2.0


@asynccontextmanager
async def lingering(requests: AsyncIterator[object]) -> AsyncIterator[None]:
    """A block whose errors are told when the client has sent all, or LINGER_S seconds later."""
    try:
        yield
    except AetheriumError:
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                async for _ in requests:
                    pass
        raise
