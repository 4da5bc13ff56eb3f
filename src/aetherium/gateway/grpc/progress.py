"""Long work with progress: each step as a response, the outcome as the last one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from aetherium.rpc.changes import Changes

Report = Callable[[Any], None]


async def with_progress(work: Callable[[Report], Awaitable[Any]]) -> AsyncGenerator[Any, None]:
    """Each step that `work` reports, then what it gives.

    The work is cancelled when the stream is left early: a client that goes away takes its request back. Of
    steps that come faster than the client reads, only the latest is kept. A task group would cancel this task
    when the work fails, and with it gRPC while that sends a step: the client would not hear of the error.
    """
    latest: list[Any] = []
    changes = Changes()

    def report(step: Any) -> None:
        latest[:] = [step]
        changes.tell()

    running = asyncio.ensure_future(work(report))
    running.add_done_callback(lambda _: changes.tell())
    try:
        while True:
            await changes.until(lambda: bool(latest) or running.done())
            if not latest:
                break
            yield latest.pop()
        yield running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
