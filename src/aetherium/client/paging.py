"""Lists that come in pages."""

from __future__ import annotations

from typing import Any, TypeVar

from aetherium.client import values
from aetherium.client.transport import Transport

T = TypeVar("T")

_PAGE = 500


async def collect(
    transport: Transport, path: str, kind: type[T], params: dict[str, Any] | None = None
) -> list[T]:
    """All items of all pages."""
    items: list[T] = []
    cursor: str | None = None
    while True:
        page = await transport.call("GET", path, params={**(params or {}), "limit": _PAGE, "cursor": cursor})
        items += values.load_all(kind, page["items"])
        cursor = page["next_cursor"]
        if cursor is None:
            return items
