"""The images of a host in a cluster: what the object store names, and is not here yet, is fetched."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

from aetherium.domain.errors import AetheriumError, NotFound, Unavailable
from aetherium.domain.images import Image, ImagePaths
from aetherium.images.blobs import BlobSource, ObjectBlobs
from aetherium.images.manifest import is_digest
from aetherium.images.store import DiskImageStore
from aetherium.images.transfer import fetch, resolve
from aetherium.interfaces.images import ImageStore, Progress, no_progress
from aetherium.interfaces.objects import ObjectStore

log = logging.getLogger(__name__)

# Other hosts that may have an image, nearest first.
FindPeers = Callable[[str], Awaitable[Sequence[BlobSource]]]


async def no_peers(_: str) -> Sequence[BlobSource]:
    """For clusters whose hosts do not ask one another."""
    return ()


class SharedImageStore:
    """See interfaces/images.py, ImageStore. Only `get` looks beyond this host.

    Args:
        local: what is here, and where it comes.
        objects: its tags are the cluster's.
        peers: asked before the object store, which is farther away.
        progress: of every fetch.
    """

    def __init__(
        self,
        local: DiskImageStore,
        objects: ObjectStore,
        *,
        peers: FindPeers = no_peers,
        progress: Progress = no_progress,
    ) -> None:
        self._local = local
        self._objects = objects
        self._peers = peers
        self._progress = progress

    async def get(self, ref: str, *, progress: Progress | None = None) -> Image:
        """The image that the cluster means by `ref`; of this host's own if the cluster knows none, or cannot
        be asked. Raises also what `transfer.fetch` raises."""
        try:
            digest = ref if is_digest(ref) else await resolve(self._objects, ref)
        except (NotFound, Unavailable) as error:
            return await self._own(ref, error)
        tags = () if digest.removeprefix("sha256:").startswith(ref.removeprefix("sha256:")) else (ref,)
        try:
            image = await self._local.get(digest)
        except NotFound:
            return await self._fetch(digest, tags, progress or self._progress)
        # Tagged here too: `prune` leaves it, and it can be had when the object store cannot.
        return image if set(tags) <= set(image.tags) else await self._local.tag(digest, ref)

    async def list(self) -> Sequence[Image]:
        """Those that are here."""
        return await self._local.list()

    async def paths(self, digest: str) -> ImagePaths:
        return await self._local.paths(digest)

    async def tag(self, ref: str, tag: str) -> Image:
        return await self._local.tag(ref, tag)

    async def remove(self, ref: str, *, in_use: Collection[str] = ()) -> int:
        return await self._local.remove(ref, in_use=in_use)

    async def prune(self, *, keep: Collection[str] = (), tagged: bool = False) -> int:
        return await self._local.prune(keep=keep, tagged=tagged)

    async def hold(self, digest: str, holder: str) -> None:
        await self._local.hold(digest, holder)

    async def release(self, digest: str, holder: str) -> None:
        await self._local.release(digest, holder)

    async def holders(self, digest: str) -> Sequence[str]:
        return await self._local.holders(digest)

    async def _own(self, ref: str, error: AetheriumError) -> Image:
        try:
            return await self._local.get(ref)
        except NotFound:
            raise error from None

    async def _fetch(self, digest: str, tags: Collection[str], progress: Progress) -> Image:
        for peer in await self._peers(digest):
            try:
                return await fetch(self._local, peer, digest, tags=tags, progress=progress)
            except AetheriumError as error:
                log.warning("The image %s could not be fetched from another host: %s", digest[:19], error)
        return await fetch(self._local, ObjectBlobs(self._objects), digest, tags=tags, progress=progress)


_: type[ImageStore] = SharedImageStore
