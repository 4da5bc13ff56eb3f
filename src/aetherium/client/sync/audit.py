"""The audit log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from aetherium.client.sync.loop import Part
from aetherium.domain.audit import AuditEntry, AuditVerification


class Audit(Part):
    """``client.audit``; see aetherium.client.audit."""

    def list(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        resource: str | None = None,
        outcome: str | None = None,
        project: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Sequence[AuditEntry]:
        """The newest `limit` entries that fit, newest first; None: all."""
        return self._loop.run(
            self._client.audit.list(
                actor=actor,
                action=action,
                resource=resource,
                outcome=outcome,
                project=project,
                since=since,
                until=until,
                limit=limit,
            )
        )

    def export(self) -> Iterator[dict[str, Any]]:
        """The log as lines, to be verified elsewhere."""
        return self._loop.iterate(self._client.audit.export())

    def verify(self, known: Mapping[int, str] | None = None) -> AuditVerification:
        """Let the gateway look at all of it."""
        return self._loop.run(self._client.audit.verify(known))

    def key(self) -> str:
        """The public key that signatures are verified with."""
        return self._loop.run(self._client.audit.key())
