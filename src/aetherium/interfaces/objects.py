"""Bytes that all hosts can reach: job results, packed sources, images, snapshots."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object."""

    key: str
    size_bytes: int
    modified_at: datetime


class ObjectStore(Protocol):
    """Objects by key. A key is a relative path of plain segments, for instance ``jobs/job_…/events.ndjson``.

    An object is there as a whole or not at all, whatever is killed in the middle of a `put`. Raises NotFound, InvalidInput
    for a key that is none, and Unavailable when the store cannot be reached or is full.
    """

    async def put(self, key: str, data: AsyncIterable[bytes] | bytes) -> int:
        """Write or replace an object; streamed, never whole in memory. Its size in bytes."""
        ...

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Its bytes, or a range of them, streamed. Past its end: nothing."""
        ...

    async def stat(self, key: str) -> ObjectInfo: ...

    async def list(self, prefix: str) -> Sequence[ObjectInfo]:
        """All whose key begins with `prefix`, by key."""
        ...

    async def remove(self, key: str) -> None:
        """Idempotent."""
        ...

    async def remove_all(self, prefix: str) -> int:
        """Remove all whose key begins with `prefix`; how many these were."""
        ...
