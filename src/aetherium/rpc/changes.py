"""Waiting until something holds, within one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Changes:
    """Whoever changes something calls `tell`; whoever waits for something says what."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        self._event.set()

    async def until(self, holds: Callable[[], object]) -> None:
        """Return as soon as `holds()` is true."""
        while not holds():
            self._event.clear()
            await self._event.wait()
