"""Images, with what VMs and snapshots use of them."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.domain.images import Image, ImageRecipe
from aetherium.interfaces.images import ImageBuilder, ImageStore, Progress, no_progress
from aetherium.interfaces.store import Store
from aetherium.services.warm import WarmSnapshots


class ImageService:
    """See interfaces/images.py for refs and errors."""

    def __init__(self, images: ImageStore, builder: ImageBuilder, store: Store, warm: WarmSnapshots) -> None:
        self._images = images
        self._builder = builder
        self._store = store
        self._warm = warm

    async def build(
        self, recipe: ImageRecipe | None = None, *, cache: bool = True, progress: Progress = no_progress
    ) -> Image:
        """Build from Debian packages; default: the image ``base``."""
        return await self._builder.build(recipe, cache=cache, progress=progress)

    async def import_image(
        self, source: str, *, tag: str | None = None, progress: Progress = no_progress
    ) -> Image:
        """Make an OCI image bootable."""
        return await self._builder.import_image(source, tag=tag, progress=progress)

    async def refresh(self, *, progress: Progress = no_progress) -> Sequence[Image]:
        """Bring tagged images up to this version's kernel and agent."""
        return await self._builder.refresh(progress=progress)

    async def list(self) -> Sequence[Image]:
        """Newest first."""
        return await self._images.list()

    async def get(self, ref: str) -> Image:
        """By tag, digest or unique prefix of one."""
        return await self._images.get(ref)

    async def tag(self, ref: str, tag: str) -> Image:
        """Give it another name."""
        return await self._images.tag(ref, tag)

    async def remove(self, ref: str) -> int:
        """Remove a tag, and with the last one the image. Bytes freed. Raises Conflict if it is in use."""
        digest = (await self._images.get(ref)).digest
        freed = await self._images.remove(ref, in_use=await self._used())
        if digest not in {image.digest for image in await self._images.list()}:
            await self._warm.forget_image(digest)
        return freed

    async def prune(self, *, tagged: bool = False) -> int:
        """Remove images that nobody uses and, without `tagged`, that have no tag. Bytes freed."""
        before = {image.digest for image in await self._images.list()}
        freed = await self._images.prune(keep=await self._used(), tagged=tagged)
        for digest in before - {image.digest for image in await self._images.list()}:
            await self._warm.forget_image(digest)
        return freed

    async def _used(self) -> set[str]:
        vms = {vm.image_digest for vm in await self._store.vms.list()}
        return vms | {snapshot.image_digest for snapshot in await self._store.snapshots.list()}
