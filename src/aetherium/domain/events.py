"""An event: a fact, in the terms of CloudEvents 1.0 (https://cloudevents.io, the core attributes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Event:
    """One fact.

    Args:
        seq: grows without gaps in the order of the log, to resume from; 0 before it was relayed.
        type: for instance ``task.succeeded``, ``vm.running``, ``worker.lost``.
        subject: the id of what it is about.
        data: JSON types only, no secrets.
    """

    id: str
    type: str
    subject: str
    project_id: str
    at: datetime
    data: Mapping[str, object]
    seq: int = 0
