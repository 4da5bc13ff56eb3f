"""The audit log. Who is in a project reads what concerns that one; the chain is the installation's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Unpack

from aetherium.domain.audit import AuditEntry, AuditVerification
from aetherium.gateway.access.access import Access
from aetherium.gateway.access.rules import guards, opens
from aetherium.interfaces.audit import AuditFilter

if TYPE_CHECKING:
    from aetherium.services.audit.service import AuditService


class Audit:
    """See AuditService. Reading it is recorded in it."""

    def __init__(self, access: Access, inner: AuditService) -> None:
        self._access = access
        self._inner = inner

    @guards("audit:read", "audit.list")
    async def list(
        self, *, limit: int = 100, before: int | None = None, **where: Unpack[AuditFilter]
    ) -> Sequence[AuditEntry]:
        one = self._access.caller.project_id
        narrowed: AuditFilter = where if one is None else {**where, "project_id": one}
        return await self._inner.list(limit=limit, before=before, **narrowed)

    @opens("audit:read", "audit.export")
    def export(self) -> AbstractAsyncContextManager[AsyncIterator[dict[str, Any]]]:
        return self._inner.export(self._access.caller.project_id)

    @guards("cluster:read", "audit.verify")
    async def verify(self, known: Mapping[int, str] | None = None) -> AuditVerification:
        return await self._inner.verify(known)

    @guards("audit:read")
    async def key(self) -> str:
        return self._inner.key
