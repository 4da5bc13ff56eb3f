"""A queue: the waiting tasks of one priority."""

from __future__ import annotations

from dataclasses import dataclass

from aetherium.domain.tasks import Priority


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue as it is now.

    Args:
        paused: none of its tasks is given to a worker; what runs goes on.
        blocked, scheduled, queued: waiting for other tasks, for their time, for a worker.
        running: those that are being cancelled included.
    """

    priority: Priority
    paused: bool = False
    blocked: int = 0
    scheduled: int = 0
    queued: int = 0
    running: int = 0
