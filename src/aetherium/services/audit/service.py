"""The audit log for who may read it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Unpack

from aetherium.domain.audit import AuditEntry, AuditHead, AuditVerification
from aetherium.interfaces.audit import AuditEnd, AuditFilter, Auditor, AuditRepository
from aetherium.interfaces.store import Store
from aetherium.services.audit.chain import GENESIS
from aetherium.services.audit.exported import VERSION, line, walk
from aetherium.services.audit.log import AuditLog
from aetherium.services.audit.signing import Signer
from aetherium.services.audit.verifying import Verifier

_PAGE = 500


class AuditService:
    """See the methods. What this process has noted is in the log when they look."""

    def __init__(self, store: Store, log: AuditLog, signer: Signer) -> None:
        self._store = store
        self._log = log
        self._signer = signer

    @property
    def auditor(self) -> Auditor:
        """Who records."""
        return self._log

    @property
    def key(self) -> str:
        """The public key of the installation's signatures."""
        return self._signer.key

    async def list(
        self, *, limit: int = 100, before: int | None = None, **where: Unpack[AuditFilter]
    ) -> Sequence[AuditEntry]:
        """Newest first, below the number `before`."""
        await self._log.flush()
        return await self._store.audit.list(limit=limit, before=before, **where)

    @asynccontextmanager
    async def export(self, project_id: str | None = None) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The lines of the log, or of a project's entries; see `exported`."""
        await self._log.flush()
        lines = self._whole() if project_id is None else self._of_project(project_id)
        async with aclosing(lines):
            yield lines

    async def verify(self, known: Mapping[int, str] | None = None) -> AuditVerification:
        """Look at all of it.

        Args:
            known: hashes of entries, by number, that were kept elsewhere.
        """
        await self._log.flush()
        own = self._log.known
        repository = self._store.audit
        end = await repository.end()
        outside = {**({} if own is None else {own.seq: own.hash}), **(known or {})}
        verifier = Verifier(list(self._signer.keys), outside)
        complete = await _look(verifier, repository, end)
        return verifier.end(end.head, complete=complete)

    def _begin(self, project_id: str | None = None) -> dict[str, Any]:
        return {"audit": {"v": VERSION, "key": self.key, "project_id": project_id}}

    async def _whole(self) -> AsyncGenerator[dict[str, Any], None]:
        repository = self._store.audit
        end = await repository.end()
        yield self._begin()
        async with aclosing(walk(repository, end)) as items:
            async for item in items:
                yield line(item)
        yield line(end.head or AuditHead(0, GENESIS, ""))

    async def _of_project(self, project_id: str) -> AsyncGenerator[dict[str, Any], None]:
        repository = self._store.of_project(project_id).audit
        yield self._begin(project_id)
        after = 0
        while page := await repository.entries(after=after, limit=_PAGE):
            for entry in page:
                yield line(entry)
            after = page[-1].seq


async def _look(verifier: Verifier, repository: AuditRepository, end: AuditEnd) -> bool:
    """Show all of it to the verifier; whether all of it can be read."""
    seen = 0
    try:
        async with aclosing(walk(repository, end)) as items:
            async for item in items:
                verifier.show(item)
                seen = item.seq
                if verifier.full:
                    break
    except (KeyError, TypeError, ValueError, OverflowError):  # a row that we have never written
        verifier.unreadable(seen)
        return False
    return True
