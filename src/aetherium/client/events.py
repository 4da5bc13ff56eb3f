"""Events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from aetherium.client import values
from aetherium.client.resuming import Lines, resuming
from aetherium.client.transport import Transport
from aetherium.domain.events import Event


class Events:
    """``client.events``."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    @asynccontextmanager
    async def stream(
        self,
        *,
        after: int = 0,
        latest: int | None = None,
        types: Collection[str] = (),
        follow: bool = True,
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """What happened, and then what happens. A connection that is cut is taken up again where it was.

        Args:
            after: only events after this `seq`.
            latest: instead of `after`: begin with so many that were last; 0: only new ones.
            types: only these; ``task.*``: all that begin so.
            follow: False: end with the newest.
        """
        params: dict[str, Any] = {
            "after": after,
            "latest": latest,
            "type": list(types),
            "follow": None if follow else "false",
        }

        async def read(lines: Lines) -> AsyncIterator[Event]:
            async for line in lines:
                event = values.load(Event, line)
                params.update(after=event.seq, latest=None)
                yield event

        async with resuming(
            self._http.retry, lambda: self._http.lines("GET", "/v1/events", params=params)
        ) as lines:
            yield read(lines)

    async def iterate(self, *, after: int = 0, types: Collection[str] = ()) -> AsyncIterator[Event]:
        """What happened so far, the oldest first."""
        async with self.stream(after=after, types=types, follow=False) as events:
            async for event in events:
                yield event
