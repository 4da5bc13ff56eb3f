"""Long work with progress: each step as a line, the outcome as the last one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from aetherium.gateway import wire


def with_progress(
    work: Callable[[Callable[[Any], None]], Awaitable[Any]],
    *,
    result: str,
    encode: Callable[[Any], Any] = wire.dump,
) -> Callable[[], AbstractAsyncContextManager[AsyncIterator[Any]]]:
    """``{"progress": …}`` for each step that `work` reports, then ``{<result>: …}``.

    The work is cancelled when the stream is left early: a client that goes away takes its request back. Of
    steps that come faster than the client reads, only the latest is kept.
    """

    @asynccontextmanager
    async def source() -> AsyncIterator[AsyncIterator[Any]]:
        latest: list[Any] = []
        news = asyncio.Event()

        def report(step: Any) -> None:
            latest[:] = [step]
            news.set()

        async def run() -> Any:
            try:
                return await work(report)
            finally:
                news.set()

        async def lines(task: asyncio.Task[Any]) -> AsyncIterator[Any]:
            while True:
                await news.wait()
                news.clear()
                if latest:
                    yield {"progress": encode(latest.pop())}
                if task.done() and not latest:
                    yield {result: encode(task.result())}
                    return

        async with asyncio.TaskGroup() as group:
            task = group.create_task(run())
            await news.wait()
            try:
                if task.done() and not latest:
                    task.result()  # an error before the first step is an ordinary answer
                yield lines(task)
            finally:
                task.cancel()

    return source
