"""Workers."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.client.sync.loop import Part
from aetherium.domain.workers import WorkerStatus


class Workers(Part):
    """``client.workers``; see aetherium.client.workers."""

    def list(self) -> Sequence[WorkerStatus]:
        """All, by name, with what is in use of them."""
        return self._loop.run(self._client.workers.list())

    def get(self, ref: str) -> WorkerStatus:
        """One worker."""
        return self._loop.run(self._client.workers.get(ref))

    def drain(self, ref: str) -> WorkerStatus:
        """Give it nothing new; it finishes what it has."""
        return self._loop.run(self._client.workers.drain(ref))

    def activate(self, ref: str) -> WorkerStatus:
        """Give it tasks again."""
        return self._loop.run(self._client.workers.activate(ref))

    def remove(self, ref: str) -> None:
        """Forget one that is lost or stopped."""
        self._loop.run(self._client.workers.remove(ref))
