"""Workers."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.client import values
from aetherium.client.paging import collect
from aetherium.client.transport import Transport, quoted
from aetherium.domain.workers import WorkerStatus


class Workers:
    """``client.workers``. A `ref` is an id, a name, or a unique prefix of an id."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def list(self) -> Sequence[WorkerStatus]:
        """All, by name, with what is in use of them."""
        return await collect(self._http, "/v1/workers", WorkerStatus)

    async def get(self, ref: str) -> WorkerStatus:
        """One worker."""
        return values.load(WorkerStatus, await self._http.call("GET", f"/v1/workers/{quoted(ref)}"))

    async def drain(self, ref: str) -> WorkerStatus:
        """Give it nothing new; it finishes what it has."""
        return values.load(WorkerStatus, await self._http.call("POST", f"/v1/workers/{quoted(ref)}/drain"))

    async def activate(self, ref: str) -> WorkerStatus:
        """Give it tasks again."""
        found = await self._http.call("POST", f"/v1/workers/{quoted(ref)}/activate")
        return values.load(WorkerStatus, found)

    async def remove(self, ref: str) -> None:
        """Forget one that is lost or stopped."""
        await self._http.call("DELETE", f"/v1/workers/{quoted(ref)}")
