"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

from aetherium.client import values
from aetherium.client.transport import Transport

T = TypeVar("T")

_PAGE = 500


async def iterate(
    transport: Transport,
    path: str,
    kind: type[T],
    params: dict[str, Any] | None = None,
    *,
    limit: int | None = None,
) -> AsyncIterator[T]:
    """The first `limit` items, None: all; a page is asked for when the one before was used up."""
    cursor: str | None = None
    left = limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        page = await transport.call("GET", path, params={**(params or {}), "limit": size, "cursor": cursor})
        for item in page["items"]:
            yield values.load(kind, item)
        cursor = page.get("next_cursor")
        if cursor is None:
            return
        left = None if left is None else left - len(page["items"])


async def collect(
    transport: Transport,
    path: str,
    kind: type[T],
    params: dict[str, Any] | None = None,
    *,
    limit: int | None = None,
) -> list[T]:
    """The same, of as many pages as it takes."""
    return [item async for item in iterate(transport, path, kind, params, limit=limit)]
