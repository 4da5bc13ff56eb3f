"""The audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from aetherium.client import values
from aetherium.client.paging import collect
from aetherium.client.transport import Transport
from aetherium.domain.audit import AuditEntry, AuditVerification


class Audit:
    """``client.audit``."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def list(
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
        """The newest `limit` entries that fit, newest first; None: all.

        Args:
            action: ``vm.*``: all that begin so.
            since: not before this.
            until: before this.
        """
        params = {
            "actor": actor,
            "action": action,
            "resource": resource,
            "outcome": outcome,
            "project": project,
            "since": None if since is None else since.astimezone().isoformat(),
            "until": None if until is None else until.astimezone().isoformat(),
        }
        return await collect(self._http, "/v1/audit", AuditEntry, params, limit=limit)

    @asynccontextmanager
    async def export(self) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The log as lines, to be verified elsewhere."""
        async with self._http.lines("GET", "/v1/audit/export") as lines:
            yield lines

    async def verify(self, known: Mapping[int, str] | None = None) -> AuditVerification:
        """Let the gateway look at all of it.

        Args:
            known: hashes of entries, by number, that were kept elsewhere.
        """
        params = {"known": [f"{seq}:{hash_}" for seq, hash_ in (known or {}).items()]}
        found = await self._http.call("GET", "/v1/audit/verify", params=params)
        return values.load(AuditVerification, found)

    async def key(self) -> str:
        """The public key that signatures are verified with."""
        return str((await self._http.call("GET", "/v1/audit/key"))["key"])
