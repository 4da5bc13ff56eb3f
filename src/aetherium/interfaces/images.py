"""The images of a host: a store that holds them and a builder that makes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from aetherium.domain.images import Image, ImagePaths, ImageProgress, ImageRecipe

Progress = Callable[[ImageProgress], None]


def no_progress(_: ImageProgress) -> None:
    """For callers that do not show progress."""


class ImageStore(Protocol):
    """Images on one host's disk.

    A `ref` is a tag, a digest (``sha256:…``) or a unique prefix of one (at least 4 hex digits). An image is
    there as a whole or not at all. Several processes may use one store at once.

    Whoever uses an image's files holds it (`hold`) until done (`release`); a held image cannot be removed.
    Holds are on disk and outlive the process, so that VMs that outlive it keep their files.
    """

    async def get(self, ref: str) -> Image:
        """The image, with its provenance. Raises NotFound, or InvalidInput if a prefix is ambiguous."""
        ...

    async def list(self) -> Sequence[Image]:
        """All images, newest first."""
        ...

    async def paths(self, digest: str) -> ImagePaths:
        """Where its parts lie. Raises NotFound."""
        ...

    async def tag(self, ref: str, tag: str) -> Image:
        """Let `tag` point to the image; it is taken from the image that had it."""
        ...

    async def remove(self, ref: str, *, in_use: Collection[str] = ()) -> int:
        """Remove a tag, and the image with its last tag; by digest, the image with all its tags.

        `in_use` names digests that must stay beside the held ones. Returns bytes freed on disk.
        Raises NotFound, and Conflict if the image would go but is in use (``details['holders']``).
        """
        ...

    async def prune(self, *, keep: Collection[str] = (), tagged: bool = False) -> int:
        """Remove images that have no tag (with `tagged` also those that have one) and are neither held nor
        named in `keep`, and whatever no image needs. Returns bytes freed on disk."""
        ...

    async def hold(self, digest: str, holder: str) -> None:
        """Note that `holder` (an id: a VM's, a snapshot's) uses the image. Idempotent. Raises NotFound."""
        ...

    async def release(self, digest: str, holder: str) -> None:
        """Take the note back. Idempotent."""
        ...

    async def holders(self, digest: str) -> Sequence[str]:
        """Who holds the image."""
        ...


class ImageBuilder(Protocol):
    """Makes images. A build that ends early, by an error, cancellation or ``kill -9``, leaves nothing.

    Raises, from every call: ToolMissing, ImageFailed when a program or the archive fails, LimitExceeded.
    """

    async def build(
        self, recipe: ImageRecipe | None = None, *, cache: bool = True, progress: Progress = no_progress
    ) -> Image:
        """Build a root file system from Debian packages (default: the recipe ``base``) and tag it with the
        recipe's name. With `cache`, an image that is still what a build would give is returned at once."""
        ...

    async def import_image(
        self,
        source: str,
        *,
        tag: str | None = None,
        max_bytes: int | None = None,
        progress: Progress = no_progress,
    ) -> Image:
        """Make an OCI image bootable: ``docker://NAME[:TAG]``, ``oci:DIR[:TAG]``, ``docker-archive:FILE``.

        Without `tag` the name in the source is used. `max_bytes` limits the unpacked size.
        """
        ...

    async def refresh(self, *, progress: Progress = no_progress) -> Sequence[Image]:
        """Give every tagged image the kernel, initramfs and agent of this version of Aetherium, where it has
        older ones; tags move to the new digests. Quick when there is nothing to do (about 10 ms)."""
        ...
