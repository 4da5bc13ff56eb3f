"""Where is recorded who did what."""

from __future__ import annotations

from typing import Protocol

from aetherium.domain.audit import AuditEvent


class Auditor(Protocol):
    """Records; see services/audit for what reads and verifies."""

    async def record(self, event: AuditEvent) -> None:
        """It is durable when this returns. Raises Unavailable; what was to be done must not be done then."""
        ...
