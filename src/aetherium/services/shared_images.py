"""The images of a cluster, as a gateway sees them: made here, kept where every worker finds them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from aetherium.domain.images import Image, ImageRecipe
from aetherium.interfaces.images import ImageBuilder, ImageStore, Progress, no_progress
from aetherium.interfaces.store import Store

# Brings an image of this host, by its reference, to the object store.
Push = Callable[[str], Awaitable[object]]


class SharedImageService:
    """See ImageService; what is made or tagged here is brought to the object store and recorded."""

    def __init__(self, images: ImageStore, builder: ImageBuilder, store: Store, push: Push) -> None:
        self._images = images
        self._builder = builder
        self._store = store
        self._push = push

    async def build(
        self, recipe: ImageRecipe | None = None, *, cache: bool = True, progress: Progress = no_progress
    ) -> Image:
        """Build from Debian packages; default: the image ``base``."""
        return await self._share(await self._builder.build(recipe, cache=cache, progress=progress))

    async def import_image(
        self, source: str, *, tag: str | None = None, progress: Progress = no_progress
    ) -> Image:
        """Make an OCI image bootable."""
        return await self._share(await self._builder.import_image(source, tag=tag, progress=progress))

    async def refresh(self, *, progress: Progress = no_progress) -> Sequence[Image]:
        """Bring tagged images up to this version's kernel and agent."""
        return [await self._share(image) for image in await self._builder.refresh(progress=progress)]

    async def list(self) -> Sequence[Image]:
        """Newest first."""
        return await self._images.list()

    async def get(self, ref: str) -> Image:
        """By tag, digest or unique prefix of one."""
        return await self._images.get(ref)

    async def tag(self, ref: str, tag: str) -> Image:
        """Give it another name."""
        return await self._share(await self._images.tag(ref, tag))

    async def remove(self, ref: str) -> int:
        """Remove a tag, and with the last one the image, from this gateway. Bytes freed."""
        return await self._images.remove(ref)

    async def prune(self, *, tagged: bool = False) -> int:
        """Remove what is not tagged from this gateway. Bytes freed."""
        return await self._images.prune(tagged=tagged)

    async def _share(self, image: Image) -> Image:
        for ref in image.tags or (image.digest,):
            await self._push(ref)
        await self._store.images.record(image.digest, image.tags, image.size_bytes)
        return image
