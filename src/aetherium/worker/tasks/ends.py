"""Ends of attempts on their way into the store, many in one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from aetherium.domain.errors import AetheriumError
from aetherium.domain.tasks import ENDED, Task
from aetherium.interfaces.bus import EventBus
from aetherium.interfaces.task_store import Outcome, TaskRepository
from aetherium.services.tasks import DISPATCH, ENDS

log = logging.getLogger(__name__)

_AT_ONCE = 500
_RETRY_S, _LONGEST_RETRY_S = 0.1, 2.0


class Ends:
    """Writes outcomes. While the store cannot be reached they wait here: should the worker's lease run out
    meanwhile, they are refused in the end, and somebody else has gone on with the tasks."""

    def __init__(self, tasks: TaskRepository, bus: EventBus) -> None:
        self._tasks = tasks
        self._bus = bus
        self._waiting: list[tuple[Outcome, asyncio.Future[Task | None]]] = []
        self._dirty = asyncio.Event()

    async def record(self, outcome: Outcome) -> Task | None:
        """The task as it is now; None if the attempt is no longer this worker's."""
        written: asyncio.Future[Task | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((outcome, written))
        self._dirty.set()
        return await written

    async def run(self) -> None:
        """Write whenever there is something, until cancelled."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                await self._write(batch)

    async def _write(self, batch: Sequence[tuple[Outcome, asyncio.Future[Task | None]]]) -> None:
        after = {task.id: task for task in await self._finish([outcome for outcome, _ in batch])}
        for outcome, written in batch:
            if not written.done():
                written.set_result(after.get(outcome.task_id))
        ended = [task.id for task in after.values() if task.state in ENDED]
        if ended:
            await self._bus.publish(ENDS, " ".join(ended))
        await self._bus.publish(DISPATCH)  # there is room now

    async def _finish(self, outcomes: Sequence[Outcome]) -> Sequence[Task]:
        pause = _RETRY_S
        while True:
            try:
                return await self._tasks.finish(outcomes)
            except AetheriumError as error:
                log.warning("%d ends cannot be recorded now, and will be: %s", len(outcomes), error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_RETRY_S)
