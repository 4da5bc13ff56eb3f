"""Lists that come in pages."""

from __future__ import annotations

from typing import Any, TypeVar

from aetherium.client import values
from aetherium.client.transport import Transport

T = TypeVar("T")

_PAGE = 500


async def collect(
    transport: Transport,
    path: str,
    kind: type[T],
    params: dict[str, Any] | None = None,
    *,
    limit: int | None = None,
) -> list[T]:
    """The first `limit` items, of as many pages as it takes; None: all."""
    items: list[T] = []
    cursor: str | None = None
    while True:
        size = _PAGE if limit is None else min(_PAGE, limit - len(items))
        page = await transport.call("GET", path, params={**(params or {}), "limit": size, "cursor": cursor})
        items += values.load_all(kind, page["items"])
        cursor = page["next_cursor"]
        if cursor is None or len(items) == limit:
            return items
