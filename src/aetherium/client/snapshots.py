"""Snapshots."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from aetherium.client import values
from aetherium.client.paging import iterate
from aetherium.client.transport import Transport, quoted
from aetherium.domain.snapshots import Snapshot


class Snapshots:
    """``client.snapshots``. A `ref` is an id, a name, or a unique prefix of an id."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    async def create(self, vm: str, *, name: str | None = None) -> Snapshot:
        """Memory, disk and devices of a VM."""
        path = f"/v1/vms/{quoted(vm)}/snapshots"
        found = await self._http.call("POST", path, body={"name": name}, key=values.new_key())
        return values.load(Snapshot, found)

    async def list(self) -> Sequence[Snapshot]:
        """All snapshots, newest first."""
        return [snapshot async for snapshot in self.iterate()]

    def iterate(self) -> AsyncIterator[Snapshot]:
        """The same as `list`, page by page."""
        return iterate(self._http, "/v1/snapshots", Snapshot)

    async def get(self, ref: str) -> Snapshot:
        """One snapshot."""
        return values.load(Snapshot, await self._http.call("GET", f"/v1/snapshots/{quoted(ref)}"))

    async def delete(self, ref: str) -> None:
        """Delete it."""
        await self._http.call("DELETE", f"/v1/snapshots/{quoted(ref)}")
