"""Queues, and limits of task types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aetherium.client import values
from aetherium.client.transport import Transport, quoted
from aetherium.domain.queues import Queue
from aetherium.domain.tasks import Priority, TypeLimit


class Queues:
    """``client.queues``."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def list(self) -> Sequence[Queue]:
        """All, the most urgent first."""
        return values.load_all(Queue, (await self._http.call("GET", "/v1/queues"))["items"])

    async def pause(self, priority: Priority) -> Queue:
        """Give none of its tasks to a worker any more; what runs goes on."""
        return values.load(Queue, await self._http.call("POST", f"/v1/queues/{priority.value}/pause"))

    async def resume(self, priority: Priority) -> Queue:
        """Let it go on."""
        return values.load(Queue, await self._http.call("POST", f"/v1/queues/{priority.value}/resume"))

    async def limits(self) -> Mapping[str, TypeLimit]:
        """Of the task types that have one, by type."""
        found = await self._http.call("GET", "/v1/queues/limits")
        return {name: values.load(TypeLimit, limit) for name, limit in found.items()}

    async def limit(self, task_type: str, limit: TypeLimit) -> None:
        """Bound how fast, and how many at once, tasks of a type may begin."""
        await self._http.call("PUT", f"/v1/queues/limits/{quoted(task_type)}", body=values.dump(limit))

    async def unlimit(self, task_type: str) -> None:
        """Take the limit of a type away."""
        await self._http.call("DELETE", f"/v1/queues/limits/{quoted(task_type)}")
