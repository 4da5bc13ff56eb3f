"""One attempt at a task: its handler runs, and how that ends becomes an outcome."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any

from aetherium.domain.errors import (
    AetheriumError,
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    LimitExceeded,
    NotFound,
    SourceFailed,
    Unsupported,
)
from aetherium.domain.tasks import Task, TaskState
from aetherium.interfaces.handlers import Attempt, Handler, TaskResult
from aetherium.interfaces.task_store import Outcome

log = logging.getLogger(__name__)

# Trying these again would only fail again.
PERMANENT = (InvalidInput, NotFound, Conflict, Unsupported, LimitExceeded, SourceFailed)
_LONGEST_ERROR = 4000


class Cut(StrEnum):
    """Why an attempt is ended early."""

    CANCELLED = "cancelled"
    HANDED_BACK = "handed_back"
    LOST = "lost"


class RunningAttempt:
    """See interfaces/handlers.Attempt.

    Args:
        payload: checked.
        open_secrets: fetches them.
    """

    def __init__(
        self, task: Task, payload: Any, open_secrets: Callable[[], Awaitable[Mapping[str, str]]]
    ) -> None:
        self._task = task
        self._payload = payload
        self._open_secrets = open_secrets
        self._cut: Cut | None = None
        self._runs: asyncio.Task[TaskResult] | None = None

    @property
    def task(self) -> Task:
        return self._task

    @property
    def payload(self) -> Any:
        return self._payload

    @property
    def last(self) -> bool:
        return self._task.failures + 1 >= self._task.spec.retry.max_attempts

    @property
    def handed_back(self) -> bool:
        return self._cut in (Cut.HANDED_BACK, Cut.LOST)

    async def secrets(self) -> Mapping[str, str]:
        return await self._open_secrets()

    def cut(self, why: Cut) -> None:
        """End it early. A cancellation goes before handing back, a lost lease before everything."""
        if self._cut is Cut.LOST or (self._cut is Cut.CANCELLED and why is Cut.HANDED_BACK):
            return
        self._cut = why
        if self._runs is not None:
            self._runs.cancel()

    async def run(self, handler: Handler) -> Outcome | None:
        """Carry it out. None when it is no longer this worker's business."""
        self._runs = asyncio.ensure_future(self._bounded(handler))
        if self._cut is not None:
            self._runs.cancel()
        try:
            # Waited for without awaiting it: the cancellation of this coroutine ends the handler first.
            await asyncio.wait({self._runs})
        except asyncio.CancelledError:
            self.cut(Cut.HANDED_BACK)
            await asyncio.wait({self._runs})
            raise
        return self._outcome(self._runs)

    async def _bounded(self, handler: Handler) -> TaskResult:
        limit = self._task.spec.timeout_s
        try:
            async with asyncio.timeout(limit) as deadline:
                return await handler(self)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise DeadlineExceeded(f"The attempt took longer than {limit:g} seconds.") from None

    def _outcome(self, ended: asyncio.Task[TaskResult]) -> Outcome | None:
        if self._cut is Cut.LOST:
            if not ended.cancelled() and ended.exception() is not None:
                log.info("%s was cut and failed: %s", self._task.id, ended.exception())
            return None
        if ended.cancelled():
            state = TaskState.QUEUED if self._cut is Cut.HANDED_BACK else TaskState.CANCELLED
            return Outcome(self._task.id, self._task.attempt, state)
        error = ended.exception()
        if error is None:
            result = ended.result()
            return Outcome(self._task.id, self._task.attempt, TaskState.SUCCEEDED, result.data, ok=result.ok)
        return failed(self._task, error)


def failed(task: Task, error: BaseException) -> Outcome:
    """What an error means for a task: another attempt after a pause, or its end."""
    if isinstance(error, AetheriumError):
        code, text = error.code, str(error)
    else:
        log.error("The task %s failed by a defect.", task.id, exc_info=error)
        code, text = "internal", f"{type(error).__name__}; the worker's log has the details."
    if isinstance(error, PERMANENT):
        state, pause = TaskState.DEAD, 0.0
    else:
        state = TaskState.SCHEDULED
        pause = random.uniform(0, task.spec.retry.ceiling_s(task.failures + 1))  # noqa: S311 - jitter
    return Outcome(task.id, task.attempt, state, error_code=code, error=text[:_LONGEST_ERROR], delay_s=pause)


_: type[Attempt] = RunningAttempt
