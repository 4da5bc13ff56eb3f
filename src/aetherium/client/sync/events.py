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
