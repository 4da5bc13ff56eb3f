"""The ImageBuilder of interfaces/images.py, over a DiskImageStore."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aetherium.domain.errors import InvalidInput, LimitExceeded
from aetherium.domain.images import Image, ImageProgress, ImageRecipe, check_tag
from aetherium.images import apt, debian, materials, oci, platform, references
from aetherium.images.manifest import Manifest, Platform
from aetherium.images.namespace import check_namespace
from aetherium.images.store import DiskImageStore
from aetherium.interfaces.images import ImageBuilder, Progress, no_progress
from aetherium.process import find_tool

# The base image's root file system, unpacked and packed at once.
_BUILD_NEEDS_BYTES = 2 << 30
_IMPORT_NEEDS_BYTES = 256 << 20
# An image of 20 GiB is more than most; it is there to stop one that is made to fill the disk.
DEFAULT_MAX_BYTES = 20 << 30
_TOOLS = ("mmdebstrap", "mksquashfs", "unsquashfs", "apt-get", "dpkg-deb")
_IMPORT_TOOLS = ("skopeo", "umoci", "mksquashfs", "unsquashfs", "apt-get", "dpkg-deb")


class DiskImageBuilder:
    """See interfaces/images.py, ImageBuilder.

    Args:
        store: where images go; builds happen on its file system.
    """

    def __init__(self, store: DiskImageStore) -> None:
        self._store = store

    async def build(
        self, recipe: ImageRecipe | None = None, *, cache: bool = True, progress: Progress = no_progress
    ) -> Image:
        recipe = recipe or debian.BASE
        materials.check_host()
        await asyncio.to_thread(_check_tools, _TOOLS)
        sources = await asyncio.to_thread(apt.host_sources)
        state = await asyncio.to_thread(apt.state, sources)
        found = await self._platform(sources, state, progress, fresh=not cache)
        key = await asyncio.to_thread(_rootfs_key, recipe, state)
        name = f"rootfs-{key[:32]}"
        record = await self._store.recall(name) if cache else None
        if record is None or not self._store.layout.blob(record["rootfs"]).exists():
            return await self._build_rootfs(recipe, sources, name, found, progress)
        manifest = _manifest(recipe, record["rootfs"], record["bytes"], record["packages"], found)
        return await self._replace(manifest, [recipe.name])

    async def import_image(
        self,
        source: str,
        *,
        tag: str | None = None,
        max_bytes: int | None = None,
        progress: Progress = no_progress,
    ) -> Image:
        materials.check_host()
        reference = await asyncio.to_thread(references.parse, source)
        name = check_tag(tag or reference.name) if tag or reference.name else ""
        if not name:
            raise InvalidInput(f"{source!r} suggests no name for the image.", hint="Give a tag.", field="tag")
        await asyncio.to_thread(_check_tools, _IMPORT_TOOLS)
        await check_namespace()
        found = await self._platform(None, "", progress)
        async with self._store.staging() as staging:
            await asyncio.to_thread(_check_space, staging, _IMPORT_NEEDS_BYTES)
            fetched = await oci.fetch(reference, staging, materials.ARCHITECTURE, progress)
            target = staging / "rootfs.squashfs"
            limit = DEFAULT_MAX_BYTES if max_bytes is None else max_bytes
            await oci.make_rootfs(fetched, staging, target, limit, progress)
            progress(ImageProgress("Storing the image"))
            size = (await asyncio.to_thread(target.stat)).st_size

            def make(digests: Mapping[Path, str]) -> Manifest:
                return Manifest(
                    rootfs=digests[target],
                    rootfs_bytes=size,
                    platform=found,
                    architecture=fetched.architecture,
                    source=_source_name(source, reference),
                    config=fetched.config,
                    provenance={"oci_manifest": fetched.digest, "layers": list(fetched.layers)},
                )

            return await self._store.commit([target], make, [name])

    async def refresh(self, *, progress: Progress = no_progress) -> Sequence[Image]:
        images = [image for image in await self._store.list() if image.tags]
        if not images:
            return []
        wanted = await self._platform(None, "", progress)
        changed = []
        for image in images:
            manifest = await self._store.manifest(image.digest)
            if manifest.platform != wanted:
                changed.append(await self._replace(replace(manifest, platform=wanted), image.tags))
        return changed

    async def _replace(self, manifest: Manifest, tags: Sequence[str]) -> Image:
        """An image whose files are all in the store."""
        return await self._store.commit((), lambda _: manifest, tags)

    async def _platform(
        self, sources: Sequence[apt.Source] | None, state: str, progress: Progress, *, fresh: bool = False
    ) -> Platform:
        """Kernel, initramfs and agent drive, made as far as they are missing. Without `sources` materials
        are taken as they are, and fetched only when there are none that this version can use."""
        stuff = None if fresh else await materials.recall(self._store)
        if stuff is not None and (sources is None or stuff.key == state):
            found = await platform.recall(self._store, stuff)
            if found is not None:
                return found
        elif sources is not None or stuff is None:
            stuff = None
        async with self._store.staging() as staging:
            if stuff is None:
                if sources is None:
                    sources = await asyncio.to_thread(apt.host_sources)
                    state = await asyncio.to_thread(apt.state, sources)
                stuff = await materials.fetch(self._store, staging, sources, state, progress)
            return await platform.make(self._store, staging / "platform", stuff, progress)

    async def _build_rootfs(
        self,
        recipe: ImageRecipe,
        sources: Sequence[apt.Source],
        name: str,
        found: Platform,
        progress: Progress,
    ) -> Image:
        await check_namespace()
        async with self._store.staging() as staging:
            await asyncio.to_thread(_check_space, staging, _BUILD_NEEDS_BYTES)
            target = staging / "rootfs.squashfs"
            packages = await debian.make_rootfs(recipe, sources, staging, target, progress)
            progress(ImageProgress("Storing the image"))
            size = (await asyncio.to_thread(target.stat)).st_size
            image = await self._store.commit(
                [target],
                lambda digests: _manifest(recipe, digests[target], size, packages, found),
                [recipe.name],
            )
        rootfs = (await self._store.manifest(image.digest)).rootfs
        await self._store.remember(name, {"rootfs": rootfs, "bytes": size, "packages": packages})
        return image


def _manifest(
    recipe: ImageRecipe, rootfs: str, size: int, packages: dict[str, str], found: Platform
) -> Manifest:
    return Manifest(
        rootfs=rootfs,
        rootfs_bytes=size,
        platform=found,
        architecture=materials.ARCHITECTURE,
        source=f"build:{recipe.name}",
        config=debian.config_of(recipe),
        provenance={"release": apt.RELEASE, "packages": packages},
    )


def _source_name(source: str, reference: references.Reference) -> str:
    """For the record: what was asked for, without directories of this host."""
    if reference.kind == "docker":
        return reference.skopeo
    return f"{reference.kind}:{Path(source.partition(':')[2]).name}"


def _check_tools(tools: Sequence[str]) -> None:
    for tool in tools:
        find_tool(tool)


def _rootfs_key(recipe: ImageRecipe, state: str) -> str:
    """What a root file system depends on, as far as it is known without fetching anything."""
    tools = [Path(find_tool(tool)).stat() for tool in ("mmdebstrap", "mksquashfs")]
    stamps = [f"{stat.st_size} {stat.st_mtime_ns}" for stat in tools]
    return hashlib.sha256("\n".join([debian.recipe_digest(recipe), state, *stamps]).encode()).hexdigest()


def _check_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path).free
    if free < needed:
        raise LimitExceeded(
            f"There are {free >> 20} MiB free for the image store, {needed >> 20} MiB are needed.",
            hint="Free space, or move the data directory; see: aetherium image prune",
            free=free,
            needed=needed,
        )


_: type[ImageBuilder] = DiskImageBuilder
