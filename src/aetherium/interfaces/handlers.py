"""Task types, and who carries tasks out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aetherium.domain.tasks import Demand, Retry, Task


@dataclass(frozen=True, slots=True)
class TaskType:
    """What everybody knows of a type.

    Args:
        name: ``area.verb``.
        payload: a dataclass; payloads are checked against it when they are accepted.
        timeout_s: for an attempt, unless the task says otherwise; None: no limit.
        retry: unless the task says otherwise.
        public: whether users may submit it themselves; others are made by the services.
    """

    name: str
    payload: type[Any]
    summary: str = ""
    timeout_s: float | None = None
    retry: Retry = field(default_factory=Retry)
    demand: Callable[[Any], Demand] | None = None
    public: bool = True


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a handler answers.

    Args:
        data: JSON types only, at most some KiB.
        ok: whether tasks that wait for this one may begin.
    """

    data: Mapping[str, object] = field(default_factory=dict)
    ok: bool = True


class Attempt(Protocol):
    """One attempt at a task, as its handler sees it.

    When it has to end early the handler is cancelled; `handed_back` then says whether another worker goes on
    with the task, in which case nothing final may be recorded. A handler may be run again at any time, on
    another worker too: what it does has to bear that.
    """

    @property
    def task(self) -> Task: ...

    @property
    def payload(self) -> Any:
        """The checked payload."""
        ...

    @property
    def last(self) -> bool:
        """Whether no further attempt follows if this one fails."""
        ...

    @property
    def handed_back(self) -> bool: ...

    async def secrets(self) -> Mapping[str, str]:
        """The secrets that came with the task."""
        ...


# Carries one attempt out. AetheriumErrors that cannot get better by trying again make the task dead.
Handler = Callable[[Attempt], Awaitable[TaskResult]]
