"""Where is recorded who did what."""

from __future__ import annotations

from typing import Protocol

from aetherium.domain.audit import AuditEvent


class Auditor(Protocol):
    """Records; see services/audit for what reads and verifies."""

    async def record(self, event: AuditEvent) -> None:
        """It is durable when this returns. Raises Unavailable; what was to be done must not be done then."""
        ...

    def note(self, event: AuditEvent) -> None:
        """Record it soon, and in any case before the log is closed: how something ended whose beginning was
        recorded."""
        ...
