"""The image store on disk."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from aetherium.domain.errors import Conflict, InvalidInput, NotFound
from aetherium.domain.images import Image, ImagePaths, check_tag
from aetherium.images.layout import Layout, digest_file
from aetherium.images.locks import Staging, abandoned, fsync_dir, locked, write_atomic
from aetherium.images.manifest import Manifest, sha256
from aetherium.images.namespace import remove_tree
from aetherium.interfaces.images import ImageStore

T = TypeVar("T")
_HEX = re.compile(r"^[0-9a-f]{4,64}$")
_HOLDER = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")


class DiskImageStore:
    """See interfaces/images.py, ImageStore; layout.py says what lies where.

    Args:
        root: ``<data_dir>/images``; made when missing.
    """

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)

    async def get(self, ref: str) -> Image:
        def look() -> Image:
            return self._image(self._resolve(ref), self.layout.tags())

        return await self._shared(look)

    async def list(self) -> Sequence[Image]:
        def look() -> list[Image]:
            tags = self.layout.tags()
            found = [self._image(digest, tags) for digest in self.layout.digests()]
            return sorted(found, key=lambda image: (image.created_at, image.digest), reverse=True)

        return await self._shared(look)

    async def paths(self, digest: str) -> ImagePaths:
        manifest, _ = await asyncio.to_thread(self.layout.read_manifest, digest)
        platform, blob = manifest.platform, self.layout.blob
        return ImagePaths(
            kernel=blob(platform.kernel),
            initrd=blob(platform.initrd),
            rootfs=blob(manifest.rootfs),
            agent_drive=blob(platform.agent_drive),
            cmdline=platform.cmdline,
        )

    async def tag(self, ref: str, tag: str) -> Image:
        check_tag(tag)

        def change() -> Image:
            digest = self._resolve(ref)
            tags = self.layout.tags() | {tag: digest}
            self.layout.write_tags(tags)
            return self._image(digest, tags)

        return await self._exclusive(change)

    async def remove(self, ref: str, *, in_use: Collection[str] = ()) -> int:
        def change() -> int:
            tags = self.layout.tags()
            digest = self._resolve(ref)
            others = [tag for tag, target in tags.items() if target == digest and tag != ref]
            if ref in tags and others:
                self.layout.write_tags({tag: target for tag, target in tags.items() if tag != ref})
                return 0
            self._refuse_used(digest, in_use)
            self.layout.write_tags({tag: target for tag, target in tags.items() if target != digest})
            self._forget(digest)
            return self._sweep_blobs()

        return await self._exclusive(change)

    async def prune(self, *, keep: Collection[str] = (), tagged: bool = False) -> int:
        await self.sweep_staging()
        await self._exclusive(self.layout.sweep_incoming)

        def change() -> int:
            tags = self.layout.tags()
            used = {
                digest for digest in self.layout.digests() if digest in keep or self.layout.holders(digest)
            }
            stay = used if tagged else used | set(tags.values())
            self.layout.write_tags({tag: digest for tag, digest in tags.items() if digest in stay})
            for digest in self.layout.digests():
                if digest not in stay:
                    self._forget(digest)
            return self._sweep_blobs()

        return await self._exclusive(change)

    async def hold(self, digest: str, holder: str) -> None:
        if not _HOLDER.match(holder):
            raise InvalidInput(f"{holder!r} cannot name a holder of an image.", field="holder")

        def change() -> None:
            if not self.layout.manifest_path(digest).exists():
                raise NotFound("image", digest, hint="See: aetherium image list")
            path = self.layout.holds / digest.removeprefix("sha256:")
            path.mkdir(mode=0o700, exist_ok=True)
            (path / holder).touch(mode=0o600)
            fsync_dir(path)

        await self._exclusive(change)

    async def release(self, digest: str, holder: str) -> None:
        def change() -> None:
            path = self.layout.holds / digest.removeprefix("sha256:")
            (path / holder).unlink(missing_ok=True)
            if path.exists() and not any(path.iterdir()):
                path.rmdir()

        await self._exclusive(change)

    async def holders(self, digest: str) -> Sequence[str]:
        return await self._shared(lambda: self.layout.holders(digest))

    # For builders.

    @asynccontextmanager
    async def staging(self) -> AsyncIterator[Path]:
        """A private directory for one build, on the store's file system; gone afterwards."""
        await self.sweep_staging()
        area = await self._shared(lambda: Staging(self.layout.staging))
        try:
            yield area.path
        finally:
            await asyncio.shield(_clear(area))

    async def sweep_staging(self) -> None:
        """Remove what builders that died have left."""

        def find() -> Sequence[tuple[Path, Path]]:
            return [*abandoned(self.layout.staging)]

        for directory, lock in await self._exclusive(find):
            await remove_tree(directory)
            await asyncio.to_thread(lock.unlink, missing_ok=True)

    async def commit(
        self,
        files: Collection[Path],
        make: Callable[[Mapping[Path, str]], Manifest],
        tags: Sequence[str] = (),
    ) -> Image:
        """Take finished files in, and the manifest that `make` builds from their digests, and tag it: at
        once or not at all."""
        digests = {file: await asyncio.to_thread(digest_file, file) for file in files}
        return await self.admit(digests, make(digests), tags)

    async def admit(self, files: Mapping[Path, str], manifest: Manifest, tags: Collection[str] = ()) -> Image:
        """The same for durable files whose digests were found when they were written."""
        data = manifest.encode()
        digest = sha256(data)

        def change() -> Image:
            for file, name in files.items():
                self.layout.add_blob(file, name)
            gone = [part for part in manifest.parts if not self.layout.blob(part).exists()]
            if gone:  # Removed by somebody since the builder looked.
                raise Conflict(
                    "Parts of the image were removed while it was made.", hint="Try again.", parts=gone
                )
            path = self.layout.manifest_path(digest)
            if not path.exists():
                write_atomic(path, data, mode=0o444)
            self.layout.write_tags(self.layout.tags() | dict.fromkeys(tags, digest))
            return self._image(digest, self.layout.tags())

        return await self._exclusive(change)

    async def keep(self, name: str, files: Mapping[str, Path], facts: Mapping[str, Any]) -> dict[str, Any]:
        """Take files in that belong to no image, and remember them with `facts` as one record, which is
        returned: ``{"parts": {key: digest}, "blobs": [digest …], **facts}``. Replaces the record `name`."""
        digests = {key: await asyncio.to_thread(digest_file, file) for key, file in files.items()}
        record = {**facts, "parts": digests, "blobs": sorted(set(digests.values()))}

        def change() -> None:
            for key, file in files.items():
                self.layout.add_blob(file, digests[key])
            self.layout.remember(name, record)

        await self._exclusive(change)
        return record

    async def recall(self, name: str) -> dict[str, Any] | None:
        """What was remembered under `name`, if all the files that it names are still there."""

        def look() -> dict[str, Any] | None:
            record = self.layout.recall(name)
            blobs = (record or {}).get("blobs", ())
            return record if all(self.layout.blob(blob).exists() for blob in blobs) else None

        return await self._shared(look)

    async def remember(self, name: str, facts: Mapping[str, Any]) -> None:
        """Keep facts under `name`."""
        await self._exclusive(lambda: self.layout.remember(name, facts))

    async def has(self, part: str) -> bool:
        """Whether a part of that digest is here, of whatever image."""
        return await asyncio.to_thread(self.layout.blob(part).exists)

    async def expecting(self, part: str) -> Path:
        """Where a part is put together that comes from another host; see incoming.py."""
        await self._shared(self.layout.create)
        return self.layout.incoming / part.removeprefix("sha256:")

    async def manifest(self, digest: str) -> Manifest:
        """An image's manifest. Raises NotFound."""
        return (await asyncio.to_thread(self.layout.read_manifest, digest))[0]

    # Below: called with the lock held, in a thread.

    def _resolve(self, ref: str) -> str:
        tags = self.layout.tags()
        if ref in tags:
            return tags[ref]
        prefix = ref.removeprefix("sha256:")
        if _HEX.match(prefix):
            found = [digest for digest in self.layout.digests() if digest[7:].startswith(prefix)]
            if len(found) > 1:
                raise InvalidInput(
                    f"{len(found)} images have digests that begin with {ref!r}.",
                    hint="Give more digits.",
                    field="ref",
                )
            if found:
                return found[0]
        hint = "Build it: aetherium image build base" if ref == "base" else "See: aetherium image list"
        raise NotFound("image", ref, hint=hint)

    def _image(self, digest: str, tags: Mapping[str, str]) -> Image:
        manifest, when = self.layout.read_manifest(digest)
        return Image(
            digest=digest,
            tags=tuple(sorted(tag for tag, target in tags.items() if target == digest)),
            architecture=manifest.architecture,
            size_bytes=manifest.rootfs_bytes,
            created_at=datetime.fromtimestamp(when, UTC),
            source=manifest.source,
            config=manifest.config,
            provenance={
                **manifest.provenance,
                "parts": dict(
                    zip(("rootfs", "kernel", "initrd", "agent_drive"), manifest.parts, strict=True)
                ),
                "platform": dict(manifest.platform.facts),
            },
        )

    def _refuse_used(self, digest: str, in_use: Collection[str]) -> None:
        holders = self.layout.holders(digest)
        if holders or digest in in_use:
            names = ", ".join(holders[:5]) or "a VM or snapshot"
            raise Conflict(
                f"The image {digest[:19]} is in use by {names}.",
                hint="Delete those first.",
                holders=holders,
                digest=digest,
            )

    def _forget(self, digest: str) -> None:
        self.layout.manifest_path(digest).unlink(missing_ok=True)

    def _sweep_blobs(self) -> int:
        needed = set(self.layout.remembered_blobs())
        for digest in self.layout.digests():
            needed.update(self.layout.read_manifest(digest)[0].parts)
        freed = 0
        for path in self.layout.blobs.iterdir():
            if f"sha256:{path.name}" not in needed:
                freed += path.stat().st_size
                path.unlink()
        return freed

    async def _shared(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(self._with_lock, work, True)

    async def _exclusive(self, work: Callable[[], T]) -> T:
        # Shielded: a cancelled caller must not see the lock dropped in the middle of a change, and the
        # thread cannot be stopped anyway.
        return await asyncio.shield(asyncio.to_thread(self._with_lock, work, False))

    def _with_lock(self, work: Callable[[], T], shared: bool) -> T:
        self.layout.create()
        with locked(self.layout.lock, shared=shared):
            return work()


async def _clear(area: Staging) -> None:
    await remove_tree(area.path)
    await asyncio.to_thread(area.close)


_: type[ImageStore] = DiskImageStore
