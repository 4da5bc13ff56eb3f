"""Bytes that all hosts can reach: job results, packed sources, images, snapshots."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aetherium.domain.errors import InvalidInput

# S3 takes 1024 bytes, of which the store's own prefix needs some; file systems take 255 for each segment.
MAX_KEY = 900
MAX_SEGMENT = 255


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object."""

    key: str
    size_bytes: int
    modified_at: datetime


class ObjectStore(Protocol):
    """Objects by key. A key is a relative path of plain segments, for instance ``jobs/job_…/events.ndjson``;
    see `check_key`. A `folder` is the begin of keys up to a slash, or empty for all; it need not be made.

    An object is there as a whole or not at all, whatever is killed in the middle of a `put`. Raises NotFound,
    InvalidInput for a key that is none, Conflict for a key below that of an object, where the store has
    directories, and Unavailable when the store cannot be reached or is full.
    """

    async def put(self, key: str, data: AsyncIterable[bytes] | bytes) -> int:
        """Write or replace an object; streamed, never whole in memory. Its size in bytes.

        What `data` raises is raised here, and then nothing was written.
        """
        ...

    def get(self, key: str, *, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """Its bytes, or a range of them, streamed. Past its end: nothing."""
        ...

    async def stat(self, key: str) -> ObjectInfo: ...

    async def list(self, folder: str) -> Sequence[ObjectInfo]:
        """All in that folder, at any depth, by key."""
        ...

    async def remove(self, key: str) -> None:
        """Idempotent."""
        ...

    async def remove_all(self, folder: str) -> int:
        """Remove all in that folder, which has to be named; how many these were."""
        ...

    async def sweep(self) -> int:
        """Remove what puts that were killed have left, as far as it is the store's business; how many these
        were. To be called now and then, at any time, by any process."""
        ...


def check_key(key: str) -> str:
    """`key`, or InvalidInput for what is none."""
    if len(_encoded(key, key)) > MAX_KEY:
        raise _refused(key, f"It has more than {MAX_KEY} bytes.")
    for segment in key.split("/"):
        if segment in ("", ".", ".."):
            raise _refused(key, "Its segments are plain names, with single slashes between them.")
        if len(_encoded(key, segment)) > MAX_SEGMENT:
            raise _refused(key, f"One of its segments has more than {MAX_SEGMENT} bytes.")
        if any(ord(character) < 32 or ord(character) == 127 for character in segment):
            raise _refused(key, "It has control characters.")
    return key


def check_folder(folder: str) -> str:
    """`folder` without a slash at its end, or InvalidInput for what is none."""
    return check_key(folder.removesuffix("/")) if folder else ""


def _encoded(key: str, part: str) -> bytes:
    try:
        return part.encode()
    except UnicodeEncodeError:
        raise _refused(key, "It has characters that UTF-8 does not have.") from None


def _refused(key: str, why: str) -> InvalidInput:
    return InvalidInput(f"{key[:200]!a} cannot be the key of an object.", hint=why, field="key")
