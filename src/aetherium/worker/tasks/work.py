"""The task side of a worker as a whole: it begins, and it ends in good order."""

from __future__ import annotations

import asyncio

from aetherium.domain.tasks import ACTIVE, WAITING
from aetherium.interfaces.queue import TaskQueue, Ticket
from aetherium.interfaces.store import Store
from aetherium.services.tasks import TaskService
from aetherium.worker.background import Tasks
from aetherium.worker.tasks.membership import Membership
from aetherium.worker.tasks.runner import TaskRunner

LOOPS = ("tasks", "membership")
# A job's VM is gone within seconds of its cancellation.
_CANCEL_S = 60.0


class Work:
    """One worker's.

    Args:
        lane: of the queue, that it reads.
        group: owns its loops.
    """

    def __init__(
        self,
        store: Store,
        queue: TaskQueue,
        service: TaskService,
        runner: TaskRunner,
        membership: Membership,
        group: Tasks,
        *,
        worker_id: str,
        lane: str,
    ) -> None:
        self._store = store
        self._queue = queue
        self._service = service
        self._runner = runner
        self._membership = membership
        self._group = group
        self._worker_id = worker_id
        self._lane = lane
        self._begun = False
        self._lock = asyncio.Lock()

    async def begin(self) -> str:
        """Register and take tasks from now on; the worker's id. May be called again. Raises Unavailable."""
        async with self._lock:
            if not self._begun:
                await self._membership.register()
                self._group.loop("tasks", lambda: self._runner.run(self._lane))
                self._group.loop("membership", self._membership.run)
                self._begun = True
        return self._worker_id

    async def deliver(self, task_id: str) -> None:
        """Let it claim a task that was accepted for it."""
        await self._queue.publish(self._lane, [Ticket(task_id, 1)])

    async def end(self, grace_s: float) -> None:
        """Finish within `grace_s` seconds what runs, hand back what does not, and say goodbye."""
        if self._begun:
            await self._runner.drain(grace_s)
            await self._leave()

    async def abort(self) -> None:
        """Cancel everything that was meant for this worker, and say goodbye."""
        if not self._begun:
            return
        mine = await self._store.tasks.list(worker_id=self._worker_id, states=WAITING | ACTIVE, limit=1000)
        for task in await self._service.cancel_all([task.id for task in mine]):
            self._runner.cancel(task.id)
        await self._runner.drain(_CANCEL_S)
        await self._leave()

    async def _leave(self) -> None:
        await self._group.end(*LOOPS)
        await self._membership.leave()
        self._begun = False
