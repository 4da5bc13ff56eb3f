"""Tasks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from aetherium.client.sync.loop import Part
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.task_types import TaskTypeInfo
from aetherium.domain.tasks import Attempt, Priority, Task, TaskSpec, TaskState


class Tasks(Part):
    """``client.tasks``; see aetherium.client.tasks."""

    def submit(self, spec: TaskSpec, *, project: str = DEFAULT_PROJECT, idempotency_key: str = "") -> Task:
        """Submit a task; it is durable on return. With a key it may be called again: the first task comes
        back."""
        return self._loop.run(
            self._client.tasks.submit(spec, project=project, idempotency_key=idempotency_key)
        )

    def submit_many(
        self, specs: Sequence[TaskSpec], *, project: str = DEFAULT_PROJECT, idempotency_key: str = ""
    ) -> Sequence[Task]:
        """Submit up to 1000 tasks, all or none; they come back in their order."""
        return self._loop.run(
            self._client.tasks.submit_many(specs, project=project, idempotency_key=idempotency_key)
        )

    def list(
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
        return self._loop.run(
            self._client.tasks.list(
                states=states,
                types=types,
                group=group,
                priority=priority,
                worker=worker,
                error_code=error_code,
                project=project,
                limit=limit,
            )
        )

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
    ) -> Iterator[Task]:
        """The same as `list`, page by page."""
        return self._loop.each(
            self._client.tasks.iterate(
                states=states,
                types=types,
                group=group,
                priority=priority,
                worker=worker,
                error_code=error_code,
                project=project,
                limit=limit,
            )
        )

    def get(self, ref: str) -> Task:
        """One task."""
        return self._loop.run(self._client.tasks.get(ref))

    def wait(self, ref: str, *, timeout_s: float | None = None) -> Task:
        """One task at its end, or as it is after `timeout_s` seconds."""
        return self._loop.run(self._client.tasks.wait(ref, timeout_s=timeout_s))

    def attempts(self, ref: str) -> Sequence[Attempt]:
        """All attempts at it, by number."""
        return self._loop.run(self._client.tasks.attempts(ref))

    def cancel(self, ref: str, *, reason: str = "") -> Task:
        """What waits is cancelled now, what runs soon."""
        return self._loop.run(self._client.tasks.cancel(ref, reason=reason))

    def cancel_all(
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
        return self._loop.run(
            self._client.tasks.cancel_all(
                ids=ids, types=types, group=group, project=project, all=all, reason=reason
            )
        )

    def types(self) -> Sequence[TaskTypeInfo]:
        """The types there are, by name."""
        return self._loop.run(self._client.tasks.types())
