"""Long work with progress: each step as it comes, the outcome at last.

The work is cancelled when its steps are left early: a client that goes away takes its request back. Of steps
that come faster than the client reads, only the latest is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aetherium.gateway import wire
from aetherium.rpc.changes import Changes

Report = Callable[[Any], None]
Work = Callable[[Report], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Step:
    """What the work reports, or, `last`, what it gives."""

    value: Any
    last: bool = False


async def steps(work: Work) -> AsyncGenerator[Step, None]:
    """Of `work`; raises what it raises.

    A task group would cancel this task when the work fails, and with it whatever sends a step at that moment:
    the client would not hear of the error.
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
            yield Step(latest.pop())
        yield Step(running.result(), last=True)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def with_progress(
    work: Work, *, result: str
) -> Callable[[], AbstractAsyncContextManager[AsyncIterator[Any]]]:
    """As lines: ``{"progress": …}`` for each step, then ``{<result>: …}``. What `work` raises before its
    first step is raised where the block begins, and is an ordinary answer."""

    @asynccontextmanager
    async def source() -> AsyncIterator[AsyncIterator[Any]]:
        async with aclosing(steps(work)) as found:
            first = await anext(found)

            async def lines() -> AsyncIterator[Any]:
                yield line(first)
                async for step in found:
                    yield line(step)

            yield lines()

    def line(step: Step) -> Any:
        return {result if step.last else "progress": wire.dump(step.value)}

    return source
