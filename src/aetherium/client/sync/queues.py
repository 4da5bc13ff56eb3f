"""Queues, and limits of task types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aetherium.client.sync.loop import Part
from aetherium.domain.queues import Queue
from aetherium.domain.tasks import Priority, TypeLimit


class Queues(Part):
    """``client.queues``; see aetherium.client.queues."""

    def list(self) -> Sequence[Queue]:
        """All, the most urgent first."""
        return self._loop.run(self._client.queues.list())

    def pause(self, priority: Priority) -> Queue:
        """Give none of its tasks to a worker any more; what runs goes on."""
        return self._loop.run(self._client.queues.pause(priority))

    def resume(self, priority: Priority) -> Queue:
        """Let it go on."""
        return self._loop.run(self._client.queues.resume(priority))

    def limits(self) -> Mapping[str, TypeLimit]:
        """Of the task types that have one, by type."""
        return self._loop.run(self._client.queues.limits())

    def limit(self, task_type: str, limit: TypeLimit) -> None:
        """Bound how fast, and how many at once, tasks of a type may begin."""
        self._loop.run(self._client.queues.limit(task_type, limit))

    def unlimit(self, task_type: str) -> None:
        """Take the limit of a type away."""
        self._loop.run(self._client.queues.unlimit(task_type))
