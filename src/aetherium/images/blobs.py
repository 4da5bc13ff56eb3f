"""Where a host gets the parts of images that it has not: the object store, or another host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

from aetherium.domain.errors import ImageFailed, InvalidInput, NotFound
from aetherium.images.manifest import check_digest
from aetherium.images.store import DiskImageStore
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.objects import ObjectStore

FOLDER = "images"
PIECE = 256 * 1024
# Some KiB are usual: provenance lists every package.
MAX_MANIFEST = 16 << 20


class BlobSource(Protocol):
    """Manifests and blobs by digest. Nobody vouches for what comes: the receiver checks it.

    Raises NotFound, and Unavailable when the source is gone in the middle.
    """

    async def manifest(self, digest: str) -> bytes:
        """An image's manifest, as it was written."""
        ...

    def blob(self, digest: str, offset: int) -> AsyncGenerator[bytes, None]:
        """A part from that byte on; past its end: nothing."""
        ...


class ObjectBlobs:
    """Images in an object store.

    ::

        images/
          blobs/sha256/HEX       parts, shared between images
          manifests/HEX.json     one per image
          tags/TAG               a digest
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def manifest(self, digest: str) -> bytes:
        return await whole(self._objects.get(manifest_key(digest)), digest)

    def blob(self, digest: str, offset: int) -> AsyncGenerator[bytes, None]:
        return self._objects.get(blob_key(digest), offset=offset)


# Asks a peer for ``manifests/HEX`` or ``blobs/HEX`` from a byte on; see `LocalBlobs.open`.
AskPeer = Callable[[str, int], AsyncGenerator[bytes, None]]


class PeerBlobs:
    """Images of another host, however it is asked."""

    def __init__(self, ask: AskPeer) -> None:
        self._ask = ask

    async def manifest(self, digest: str) -> bytes:
        return await whole(self._ask(f"manifests/{_hex(digest)}", 0), digest)

    def blob(self, digest: str, offset: int) -> AsyncGenerator[bytes, None]:
        return self._ask(f"blobs/{_hex(digest)}", offset)


class LocalBlobs:
    """Images of this host, for others: `open` answers what `AskPeer` asks there."""

    def __init__(self, store: DiskImageStore) -> None:
        self._layout = store.layout

    async def manifest(self, digest: str) -> bytes:
        return await whole(self.open(f"manifests/{_hex(digest)}", 0), digest)

    def blob(self, digest: str, offset: int) -> AsyncGenerator[bytes, None]:
        return self.open(f"blobs/{_hex(digest)}", offset)

    async def open(self, name: str, offset: int) -> AsyncGenerator[bytes, None]:
        """Raises NotFound, and InvalidInput for what names nothing of an image."""
        kind, _, digits = name.partition("/")
        digest = check_digest(f"sha256:{digits}")
        if offset < 0:
            raise InvalidInput(f"No part of an image begins at {offset}.", field="offset")
        path = self._layout.manifest_path(digest) if kind == "manifests" else self._layout.blob(digest)
        async with aclosing(_file(path, name, offset)) as pieces:
            async for piece in pieces:
                yield piece


async def _file(path: Path, name: str, offset: int) -> AsyncGenerator[bytes, None]:
    try:
        file = path.open("rb", buffering=0)  # on the loop: it is a matter of microseconds
    except FileNotFoundError:
        raise NotFound("image part", name) from None
    with file:
        file.seek(offset)
        # `finish`: nobody may close the file while a thread is at it.
        while piece := await finish(asyncio.to_thread(file.read, PIECE)):
            yield piece


def manifest_key(digest: str) -> str:
    """The object that a manifest is."""
    return f"{FOLDER}/manifests/{_hex(digest)}.json"


def blob_key(digest: str) -> str:
    """The object that a part is."""
    return f"{FOLDER}/blobs/sha256/{_hex(digest)}"


def _hex(digest: str) -> str:
    return check_digest(digest).removeprefix("sha256:")


async def whole(pieces: AsyncGenerator[bytes, None], digest: str) -> bytes:
    """A manifest, whole in memory. Raises ImageFailed for one that is much too long."""
    data = bytearray()
    async with aclosing(pieces):
        async for piece in pieces:
            data += piece
            if len(data) > MAX_MANIFEST:
                raise ImageFailed(f"The manifest of {digest[:19]} is longer than any.", digest=digest)
    return bytes(data)
