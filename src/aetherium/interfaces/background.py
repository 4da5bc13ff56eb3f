"""Work that goes on beside a block."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from aetherium.interfaces.finishing import finish

log = logging.getLogger(__name__)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """`work` runs while the block does, and is over when the block is left.

    Not a TaskGroup: that would wrap the errors of the block into groups, and its caller could not tell them.
    What `work` raises is logged when it happens, and raised where the block is left.
    """
    task = asyncio.create_task(_logged(work, name), name=name)
    try:
        yield
    finally:
        # Not to be cut: a cancellation of the block is not to be taken for that of `work`.
        await finish(_end(task))
        work.close()  # where the block was so short that it was not even begun


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _logged(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await work
    except Exception:
        log.exception("The work %r has failed, and is over.", name)
        raise
