"""Marks methods with the permission that they need, and with their action for the audit log.

A guarded class has its caller's Access as `self._access`. A test sees that no public method is without mark.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., object])

Method = Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]
Manager = Callable[Concatenate[Any, P], AbstractAsyncContextManager[R]]
Stream = Callable[Concatenate[Any, P], AsyncIterator[R]]


def guards(permission: str, action: str = "") -> Callable[[Method[P, R]], Method[P, R]]:
    """For a call. The id of what it answers is recorded as what it was done to."""

    def mark(method: Method[P, R]) -> Method[P, R]:
        @wraps(method)
        async def guarded(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
            async with self._access.doing(permission, action, _resource(args)) as what:
                result = await method(self, *args, **kwargs)
                what.resource = getattr(result, "id", what.resource)
                return result

        return _marked(guarded, permission)

    return mark


def opens(permission: str, action: str = "") -> Callable[[Manager[P, R]], Manager[P, R]]:
    """For a context manager."""

    def mark(method: Manager[P, R]) -> Manager[P, R]:
        @wraps(method)
        @asynccontextmanager
        async def guarded(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
            async with (
                self._access.doing(permission, action, _resource(args)),
                method(self, *args, **kwargs) as value,
            ):
                yield value

        return _marked(guarded, permission)

    return mark


def streams(permission: str) -> Callable[[Stream[P, R]], Stream[P, R]]:
    """For an asynchronous iterator."""

    def mark(method: Stream[P, R]) -> Stream[P, R]:
        @wraps(method)
        async def guarded(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
            async with self._access.doing(permission):
                async for value in method(self, *args, **kwargs):
                    yield value

        return _marked(guarded, permission)

    return mark


def _resource(args: tuple[object, ...]) -> str:
    """How the caller calls what it means."""
    first = args[0] if args else ""
    return first if isinstance(first, str) else ""


def _marked(function: F, permission: str) -> F:
    function.permission = permission  # type: ignore[attr-defined]
    return function
