"""The tasks of a platform, which end with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

# A loop that failed by a defect is not started again at once, which would fill the log.
RESTART_S = 5.0


class Tasks(asyncio.TaskGroup):
    """A TaskGroup whose tasks can be cancelled all at once."""

    def __init__(self) -> None:
        super().__init__()
        self._owned: set[asyncio.Task[Any]] = set()

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """See TaskGroup."""
        task = super().create_task(coro, name=name, context=context)
        self._owned.add(task)
        task.add_done_callback(self._owned.discard)
        return task

    def loop(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run a loop that is meant never to end. A defect in it is logged, and it begins again."""
        return self.create_task(_again(name, work), name=name)

    async def end(self, *names: str) -> None:
        """Cancel the tasks of these names and wait until they are over."""
        ending = [task for task in self._owned if task.get_name() in names]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def cancel_all(self) -> None:
        """Ask all to end."""
        for task in tuple(self._owned):
            task.cancel()


@asynccontextmanager
async def tasks() -> AsyncIterator[Tasks]:
    """A group for the time of the block; at its end all tasks are cancelled and waited for. What the block
    raises comes out as it is, not in a group."""
    failure: Exception | None = None
    async with Tasks() as group:
        try:
            yield group
        except Exception as error:  # raised again below
            failure = error
        finally:
            group.cancel_all()
    if failure is not None:
        raise failure


async def _again(name: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception:
            log.exception("The loop %r failed and begins again.", name)
        await asyncio.sleep(RESTART_S)
