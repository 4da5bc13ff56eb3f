"""Streams that go on behind what was read when their connection is cut, or their gateway is replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from aetherium.client.retries import RetryPolicy, Tries
from aetherium.domain.errors import AetheriumError

Lines = AsyncIterator[dict[str, Any]]
Open = Callable[[], AbstractAsyncContextManager[Lines]]


@asynccontextmanager
async def resuming(
    policy: RetryPolicy | None, again: Open, *, first: Open | None = None
) -> AsyncIterator[Lines]:
    """The lines of a stream; it is open when the block is entered.

    Args:
        again: opens it behind the last line that was taken.
        first: opens it for the first time, if that is done otherwise.
    """
    async with AsyncExitStack() as stack:
        lines = await stack.enter_async_context((first or again)())
        yield _going_on(stack, lines, again, policy)


async def _going_on(stack: AsyncExitStack, lines: Lines, again: Open, policy: RetryPolicy | None) -> Lines:
    tries = Tries(policy, safe=True)
    while True:
        try:
            async for line in lines:
                tries.renew()
                yield line
        except AetheriumError as error:
            await stack.aclose()
            await tries.pause(error)
        else:
            return
        lines = await stack.enter_async_context(again())
