"""Tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

from aetherium.client import values
from aetherium.client.paging import iterate
from aetherium.client.transport import Transport, quoted
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.task_types import TaskTypeInfo
from aetherium.domain.tasks import Attempt, Priority, Task, TaskSpec, TaskState


class Tasks:
    """``client.tasks``. A `ref` is an id or a unique prefix of one."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def submit(
        self, spec: TaskSpec, *, project: str = DEFAULT_PROJECT, idempotency_key: str = ""
    ) -> Task:
        """Submit a task; it is durable on return.

        Args:
            idempotency_key: with it this may be called again, by whomever: the first task comes back.
        """
        body = {"spec": values.dump(spec), "project": project}
        found = await self._http.call("POST", "/v1/tasks", body=body, key=idempotency_key or values.new_key())
        return values.load(Task, found)

    async def submit_many(
        self, specs: Sequence[TaskSpec], *, project: str = DEFAULT_PROJECT, idempotency_key: str = ""
    ) -> Sequence[Task]:
        """Submit up to 1000 tasks, all or none; they come back in their order."""
        body = {"specs": [values.dump(spec) for spec in specs], "project": project}
        found = await self._http.call(
            "POST", "/v1/tasks/batch", body=body, key=idempotency_key or values.new_key()
        )
        return values.load_all(Task, found)

    async def list(
        self,
        *,
        states: Collection[TaskState] = (),
        types: Collection[str] = (),
        group: str = "",
        priority: Priority | None = None,
        worker: str = "",
        error_code: str = "",
        project: str = "",
        limit: int | None = None,
    ) -> Sequence[Task]:
        """The newest `limit` tasks, newest first; None: all."""
        return [
            task
            async for task in self.iterate(
                states=states,
                types=types,
                group=group,
                priority=priority,
                worker=worker,
                error_code=error_code,
                project=project,
                limit=limit,
            )
        ]

    def iterate(
        self,
        *,
        states: Collection[TaskState] = (),
        types: Collection[str] = (),
        group: str = "",
        priority: Priority | None = None,
        worker: str = "",
        error_code: str = "",
        project: str = "",
        limit: int | None = None,
    ) -> AsyncIterator[Task]:
        """The same as `list`, page by page."""
        params: dict[str, Any] = {
            "state": [state.value for state in states],
            "type": list(types),
            "group": group or None,
            "priority": priority and priority.value,
            "worker": worker or None,
            "error_code": error_code or None,
            "project": project or None,
        }
        return iterate(self._http, "/v1/tasks", Task, params, limit=limit)

    async def get(self, ref: str) -> Task:
        """One task."""
        return values.load(Task, await self._http.call("GET", f"/v1/tasks/{quoted(ref)}"))

    async def wait(self, ref: str, *, timeout_s: float | None = None) -> Task:
        """One task at its end, or as it is after `timeout_s` seconds."""
        params = {"wait": "true", "timeout_s": timeout_s}
        return values.load(Task, await self._http.call("GET", f"/v1/tasks/{quoted(ref)}", params=params))

    async def attempts(self, ref: str) -> Sequence[Attempt]:
        """All attempts at it, by number."""
        return values.load_all(Attempt, await self._http.call("GET", f"/v1/tasks/{quoted(ref)}/attempts"))

    async def cancel(self, ref: str, *, reason: str = "") -> Task:
        """What waits is cancelled now, what runs soon."""
        found = await self._http.call("POST", f"/v1/tasks/{quoted(ref)}/cancel", body={"reason": reason})
        return values.load(Task, found)

    async def cancel_all(
        self,
        *,
        ids: Collection[str] = (),
        types: Collection[str] = (),
        group: str = "",
        project: str = "",
        all: bool = False,  # noqa: A002 - the name in the API
        reason: str = "",
    ) -> int:
        """Cancel those that fit and have not ended; how many were changed. `all`: no matter which."""
        body = {
            "ids": list(ids),
            "types": list(types),
            "group": group,
            "project": project,
            "all": all,
            "reason": reason,
        }
        return int((await self._http.call("POST", "/v1/tasks/cancel", body=body))["changed"])

    async def types(self) -> Sequence[TaskTypeInfo]:
        """The types there are, by name."""
        return values.load_all(TaskTypeInfo, await self._http.call("GET", "/v1/tasks/types"))
