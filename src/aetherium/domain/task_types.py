"""What users may know of a task type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aetherium.domain.tasks import Retry


@dataclass(frozen=True, slots=True)
class TaskTypeInfo:
    """One type.

    Args:
        public: whether users may submit it; others are made by the platform.
        timeout_s, retry: of an attempt, unless the task says otherwise.
        payload: a JSON Schema.
    """

    name: str
    summary: str
    public: bool
    timeout_s: float | None
    retry: Retry
    payload: Mapping[str, object]
