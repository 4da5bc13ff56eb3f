"""Images."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.client.images import Progress
from aetherium.client.sync.loop import Part
from aetherium.domain.images import Image, ImageRecipe


class Images(Part):
    """``client.images``; see aetherium.client.images."""

    def build(
        self, recipe: ImageRecipe | None = None, *, cache: bool = True, progress: Progress | None = None
    ) -> Image:
        """Build an image from Debian packages."""
        return self._loop.run(self._client.images.build(recipe, cache=cache, progress=progress))

    def import_image(self, source: str, *, tag: str | None = None, progress: Progress | None = None) -> Image:
        """Make an OCI image bootable."""
        return self._loop.run(self._client.images.import_image(source, tag=tag, progress=progress))

    def list(self) -> Sequence[Image]:
        """All images, newest first."""
        return self._loop.run(self._client.images.list())

    def get(self, ref: str) -> Image:
        """One image."""
        return self._loop.run(self._client.images.get(ref))

    def tag(self, ref: str, tag: str) -> Image:
        """Give it a further tag."""
        return self._loop.run(self._client.images.tag(ref, tag))

    def remove(self, ref: str) -> int:
        """Remove a tag, and the image with its last one."""
        return self._loop.run(self._client.images.remove(ref))

    def prune(self, *, tagged: bool = False) -> int:
        """Remove what nobody uses."""
        return self._loop.run(self._client.images.prune(tagged=tagged))
