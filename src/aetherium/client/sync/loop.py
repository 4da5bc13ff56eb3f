"""The event loop of a client, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from aetherium.client.aio import AsyncClient
from aetherium.domain.errors import Unavailable

T = TypeVar("T")


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="aetherium", daemon=True)
        self._thread.start()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """The result of `call`; an interrupt (Ctrl-C) cancels it."""
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise Unavailable("The client was closed in the middle of a call.") from None
        except BaseException:
            future.cancel()
            raise

    def each(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items of an iterator, one at a time."""
        while (item := self.run(_next(items))) is not None:
            yield item

    def iterate(self, source: AbstractAsyncContextManager[AsyncIterator[T]]) -> Iterator[T]:
        """The items of a stream, one at a time."""
        items = self.run(source.__aenter__())
        try:
            yield from self.each(items)
        finally:
            self.run(_leave(source))

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _next(items: AsyncIterator[T]) -> T | None:
    return await anext(items, None)


async def _leave(source: AbstractAsyncContextManager[Any]) -> None:
    await source.__aexit__(None, None, None)


class Part:
    """What concerns one kind of thing."""

    def __init__(self, client: AsyncClient, loop: Loop) -> None:
        self._client = client
        self._loop = loop


async def joined(pieces: AsyncIterator[bytes]) -> bytes:
    """All pieces as one."""
    return b"".join([piece async for piece in pieces])
