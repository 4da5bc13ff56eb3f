"""What happened, who did it, and whether it went well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What is to be recorded.

    Args:
        actor: the subject of a Caller; empty: nobody could be recognised.
        action: ``vm.create``, ``secret.use``, ``auth.failure`` …
        resource: the id of what it was done to, or how the caller called it; never a secret.
        outcome: ``ok``, or the code of the error.
        project_id: None: it concerns the installation.
        data: further facts, JSON types only; never a secret.
    """

    actor: str
    action: str
    resource: str
    outcome: str = "ok"
    project_id: str | None = None
    address: str = ""
    request_id: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One link of the chain.

    Args:
        seq: from 1, without gaps.
        previous: the hash of the entry before; of the first one, 64 zeros.
        hash: of all the rest; see services/audit.
    """

    seq: int
    at: datetime
    event: AuditEvent
    previous: str
    hash: str
