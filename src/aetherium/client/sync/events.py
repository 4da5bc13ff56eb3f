"""Events."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from aetherium.client.sync.loop import Part
from aetherium.domain.events import Event


class Events(Part):
    """``client.events``; see aetherium.client.events."""

    def stream(
        self,
        *,
        after: int = 0,
        latest: int | None = None,
        types: Collection[str] = (),
        follow: bool = True,
    ) -> Iterator[Event]:
        """What happened, and then what happens."""
        return self._loop.iterate(
            self._client.events.stream(after=after, latest=latest, types=types, follow=follow)
        )

    def iterate(self, *, after: int = 0, types: Collection[str] = ()) -> Iterator[Event]:
        """What happened so far, the oldest first."""
        return self._loop.each(self._client.events.iterate(after=after, types=types))
