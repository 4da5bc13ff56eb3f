"""Files of the guest that match a glob. What arrives is not trusted; links are not followed."""

from __future__ import annotations

import posixpath
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from aetherium.domain.errors import GuestError
from aetherium.interfaces.guest import Guest
from aetherium.sources.tarstream import Entry, TarStream

_SPECIAL = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern, split where its first special character is.

    Args:
        root: the directory or file that is looked at, absolute.
        rest: what has to match below it; empty: everything.
    """

    root: str
    rest: str

    @classmethod
    def of(cls, workdir: str, pattern: str) -> Glob:
        """`pattern` is relative to `workdir`, or absolute."""
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        plain = next((at for at, part in enumerate(parts) if _SPECIAL.search(part)), len(parts))
        top = "/" if pattern.startswith("/") else workdir
        return cls(posixpath.normpath(posixpath.join(top, *parts[:plain])), "/".join(parts[plain:]))


async def matching(guest: Guest, glob: Glob) -> AsyncGenerator[tuple[Entry, TarStream], None]:
    """Each entry, and the stream to read its content from before the next one."""
    # A slash at the beginning anchors it: without one, a name would match at any depth.
    include = (f"/{glob.rest}",) if glob.rest else ()
    pieces = _existing(guest, glob.root, include)
    async with aclosing(pieces):
        first = await anext(pieces, None)
        if first is None:
            return
        stream = TarStream(_chain(first, pieces))
        async for entry in stream:
            yield entry, stream


async def _existing(guest: Guest, root: str, include: tuple[str, ...]) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in guest.archive_out(root, include=include):
            yield piece
    except GuestError as error:
        if error.details.get("errno") not in ("ENOENT", "ENOTDIR"):
            raise


async def _chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in rest:
        yield piece
