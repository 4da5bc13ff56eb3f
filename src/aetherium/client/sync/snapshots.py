"""Snapshots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aetherium.client.sync.loop import Part
from aetherium.domain.snapshots import Snapshot


class Snapshots(Part):
    """``client.snapshots``; see aetherium.client.snapshots."""

    def create(self, vm: str, *, name: str | None = None) -> Snapshot:
        """Memory, disk and devices of a VM."""
        return self._loop.run(self._client.snapshots.create(vm, name=name))

    def list(self) -> Sequence[Snapshot]:
        """All snapshots, newest first."""
        return self._loop.run(self._client.snapshots.list())

    def iterate(self) -> Iterator[Snapshot]:
        """The same as `list`, page by page."""
        return self._loop.each(self._client.snapshots.iterate())

    def get(self, ref: str) -> Snapshot:
        """One snapshot."""
        return self._loop.run(self._client.snapshots.get(ref))

    def delete(self, ref: str) -> None:
        """Delete it."""
        self._loop.run(self._client.snapshots.delete(ref))
