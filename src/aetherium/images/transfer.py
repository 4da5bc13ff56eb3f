"""Images on their way between hosts: into the object store, and from there or from a peer to this one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, aclosing
from urllib.parse import quote

from aetherium.domain.errors import Conflict, ImageFailed, InvalidInput, NotFound
from aetherium.domain.images import Image, ImageProgress
from aetherium.images.blobs import (
    FOLDER,
    BlobSource,
    LocalBlobs,
    blob_key,
    manifest_key,
    whole,
)
from aetherium.images.incoming import Here, incoming
from aetherium.images.manifest import Manifest, check_digest, decode, is_digest, sha256
from aetherium.images.store import DiskImageStore
from aetherium.interfaces.images import Progress, no_progress
from aetherium.interfaces.objects import ObjectStore

_HEX = re.compile(r"[0-9a-f]{4,64}")
# Between two reports of progress.
_STEP = 8 << 20


async def push(
    store: DiskImageStore, objects: ObjectStore, ref: str, *, progress: Progress = no_progress
) -> str:
    """Bring an image of this host to the object store, and the tag that `ref` is; its digest.

    What is there already is not sent again. The tag comes last, so that whoever finds it finds all.
    Raises NotFound, ImageFailed when a file here is damaged, Conflict when it is removed meanwhile.
    """
    image = await store.get(ref)
    manifest, here = await store.manifest(image.digest), LocalBlobs(store)
    for part in dict.fromkeys(manifest.parts):
        if not await _there(objects, blob_key(part)):
            told = _Told(progress, "Pushing", manifest, part)
            await objects.put(blob_key(part), _intact(here.blob(part, 0), part, told))
    await objects.put(manifest_key(image.digest), manifest.encode())
    if ref in image.tags:
        await objects.put(tag_key(ref), image.digest.encode())
    return image.digest


async def resolve(objects: ObjectStore, ref: str) -> str:
    """The digest that a tag, a digest or the begin of one means in the object store. A whole digest is not
    looked for. Raises NotFound, and InvalidInput for an ambiguous begin."""
    if is_digest(ref):
        return ref
    try:
        value = await whole(objects.get(tag_key(ref)), ref)
        return check_digest(value.decode(errors="replace").strip())
    except NotFound:
        return await _by_prefix(objects, ref)


async def fetch(
    store: DiskImageStore,
    source: BlobSource,
    digest: str,
    *,
    tags: Collection[str] = (),
    progress: Progress = no_progress,
) -> Image:
    """Bring an image to this host, unless it is here, and tag it; at once or not at all.

    Several processes may want it: each part is fetched once, and goes on where an attempt that was killed or
    cut off has ended. Raises NotFound, Unavailable, and ImageFailed for what is not as its digest says; of
    that nothing is kept.
    """
    manifest = await _manifest(source, digest)
    files = {}
    async with AsyncExitStack() as stack:
        # In one order for all, since each part's lock is kept until all are here.
        for part in sorted(set(manifest.parts)):
            if await store.has(part):
                continue
            file = await stack.enter_async_context(incoming(await store.expecting(part)))
            if not await store.has(part):  # nobody else has fetched it while we waited
                await file.fetch(source, part, _Told(progress, "Fetching", manifest, part))
                files[file.path] = part
        return await store.admit(files, manifest, tags)


def tag_key(tag: str) -> str:
    """The object that a tag is: one segment, whatever is in the tag."""
    return f"{FOLDER}/tags/{quote(tag, safe='')}"


async def _manifest(source: BlobSource, digest: str) -> Manifest:
    data = await source.manifest(check_digest(digest))
    if sha256(data) != digest:
        raise ImageFailed(
            f"The manifest of {digest[:19]} came damaged.", hint="Push the image again.", digest=digest
        )
    manifest = decode(data)
    if not all(map(is_digest, manifest.parts)) or manifest.encode() != data:
        raise ImageFailed(
            f"The manifest of {digest[:19]} is none that this version writes.",
            hint="Is the other host's version another?",
            digest=digest,
        )
    return manifest


async def _by_prefix(objects: ObjectStore, ref: str) -> str:
    prefix = ref.removeprefix("sha256:")
    if _HEX.fullmatch(prefix):
        names = [info.key.rpartition("/")[2] for info in await objects.list(f"{FOLDER}/manifests")]
        found = [name.removesuffix(".json") for name in names if name.startswith(prefix)]
        if len(found) > 1:
            raise InvalidInput(
                f"{len(found)} images have digests that begin with {ref!r}.",
                hint="Give more digits.",
                field="ref",
            )
        if found:
            return f"sha256:{found[0]}"
    raise NotFound("image", ref)


async def _there(objects: ObjectStore, key: str) -> bool:
    try:
        await objects.stat(key)
    except NotFound:
        return False
    return True


async def _intact(
    pieces: AsyncGenerator[bytes, None], digest: str, here: Here
) -> AsyncGenerator[bytes, None]:
    """The same pieces; raises at their end if they are not what `digest` says: no object comes of it."""
    found, size = hashlib.sha256(), 0
    async with aclosing(pieces):
        try:
            async for piece in pieces:
                found.update(piece)
                size += len(piece)
                yield piece
                here(size)
        except NotFound as error:
            raise Conflict("The image was removed while it was pushed.", digest=digest) from error
    if f"sha256:{found.hexdigest()}" != digest:
        raise ImageFailed(
            f"The part {digest[:19]} of the image is damaged on this host.",
            hint="Remove the image and build or import it again.",
            digest=digest,
        )


class _Told:
    """Tells how far a part is, now and then."""

    def __init__(self, progress: Progress, verb: str, manifest: Manifest, part: str) -> None:
        names = dict(
            zip(
                manifest.parts,
                ("the root file system", "the kernel", "the initramfs", "the agent"),
                strict=True,
            )
        )
        self._stage = f"{verb} {names[part]}"
        self._whole = manifest.rootfs_bytes if part == manifest.rootfs else None
        self._progress = progress
        self._next = 0

    def __call__(self, size: int) -> None:
        if size >= self._next:
            self._next = size + _STEP
            fraction = min(size / self._whole, 1.0) if self._whole else None
            self._progress(ImageProgress(self._stage, fraction, f"{size >> 20} MiB"))
