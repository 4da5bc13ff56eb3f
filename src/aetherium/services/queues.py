"""Queues: what waits in each priority, pausing them, and limits of task types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aetherium.domain.errors import NotFound
from aetherium.domain.queues import Queue
from aetherium.domain.tasks import ACTIVE, WAITING, Priority, TaskState, TypeLimit
from aetherium.interfaces.bus import EventBus
from aetherium.interfaces.store import Store
from aetherium.services.task_types import TaskTypes
from aetherium.services.tasks import DISPATCH, SETTINGS


class QueueService:
    """See the methods. Every change is told to the orchestrators, since more tasks may begin now."""

    def __init__(self, store: Store, bus: EventBus, types: TaskTypes) -> None:
        self._store = store
        self._bus = bus
        self._types = types

    async def list(self) -> Sequence[Queue]:
        """All, the most urgent first."""
        paused = await self._store.queues.paused()
        return [await self._look(priority, paused=priority in paused) for priority in Priority]

    async def get(self, priority: Priority) -> Queue:
        """One."""
        return await self._look(priority, paused=priority in await self._store.queues.paused())

    async def _look(self, priority: Priority, *, paused: bool) -> Queue:
        counts = await self._store.tasks.count(priority=priority, states=WAITING | ACTIVE)
        return Queue(
            priority,
            paused,
            blocked=counts.get(TaskState.BLOCKED, 0),
            scheduled=counts.get(TaskState.SCHEDULED, 0),
            queued=counts.get(TaskState.QUEUED, 0),
            running=sum(counts.get(state, 0) for state in ACTIVE),
        )

    async def pause(self, priority: Priority) -> Queue:
        """None of its tasks is given to a worker any more; what runs goes on."""
        return await self._pause(priority, on=True)

    async def resume(self, priority: Priority) -> Queue:
        """Let it go on."""
        return await self._pause(priority, on=False)

    async def _pause(self, priority: Priority, *, on: bool) -> Queue:
        await self._store.queues.pause(priority, on=on)
        await self._bus.publish(DISPATCH, SETTINGS)
        return await self.get(priority)

    async def limits(self) -> Mapping[str, TypeLimit]:
        """Of the types that have one, by name."""
        return dict(sorted((await self._store.queues.limits()).items()))

    async def limit(self, task_type: str, limit: TypeLimit) -> None:
        """Bound how fast, and how many at once, tasks of a type may begin. Raises InvalidInput."""
        self._types.get(task_type)
        await self._store.queues.limit(task_type, limit)
        await self._bus.publish(DISPATCH, SETTINGS)

    async def unlimit(self, task_type: str) -> None:
        """Take the limit of a type away. Raises NotFound."""
        if task_type not in await self._store.queues.limits():
            raise NotFound("limit of the task type", task_type, hint="See: aetherium queue limit")
        await self._store.queues.limit(task_type, None)
        await self._bus.publish(DISPATCH, SETTINGS)
