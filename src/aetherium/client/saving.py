"""Files of this host that are written from a stream: as a whole or not at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from aetherium.domain.errors import InvalidInput


async def save(pieces: AsyncIterator[bytes], path: Path, *, mode: int = 0o644, field: str = "output") -> None:
    """Write `path`; missing directories above it are made, and a link that lies there is replaced.

    Raises InvalidInput that names `field` when that cannot be done.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(
            os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb"
        ) as file:
            async for piece in pieces:
                await asyncio.to_thread(file.write, piece)
            os.fchmod(file.fileno(), mode)
        part.replace(path)
    except OSError as error:
        raise InvalidInput(f"{str(path)!r} cannot be written: {error.strerror}.", field=field) from error
    finally:
        with suppress(OSError):  # it was not made, for the reason that is being told
            part.unlink()
