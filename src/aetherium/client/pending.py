"""What is awaited, or let live for the length of a block."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar

from aetherium.interfaces.finishing import finish

T = TypeVar("T")


class Pending(Generic[T]):
    """``await`` it and look after the result, or ``async with`` it and leave that to the block's end.

    Args:
        begin: makes it.
        end: what is done with it when the block is left, also by a cancellation.
    """

    def __init__(
        self, begin: Callable[[], Coroutine[Any, Any, T]], end: Callable[[T], Coroutine[Any, Any, None]]
    ) -> None:
        self._begin = begin
        self._end = end
        self._made: list[T] = []

    def __await__(self) -> Generator[Any, None, T]:
        return self.made().__await__()

    async def made(self) -> T:
        """The same as to await it, as a coroutine."""
        return await self._begin()

    async def __aenter__(self) -> T:
        self._made.append(await self._begin())
        return self._made[-1]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await finish(self._end(self._made.pop()))
