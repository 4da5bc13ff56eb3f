"""An image: a kernel, an initramfs and a read-only root file system.

::

    building ──► ready ──► deleting ──► (gone)
        │
        └──► failed (nothing is left on disk)

On disk an image exists as a whole or not at all, so ``building`` and ``failed`` are seen only by who waits
for the build.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from aetherium.domain.errors import InvalidInput
from aetherium.domain.lifecycle import Lifecycle


class ImageState(StrEnum):
    """Where an image is in its life."""

    BUILDING = "building"
    READY = "ready"
    DELETING = "deleting"
    FAILED = "failed"


IMAGE_LIFECYCLE: Lifecycle[ImageState] = Lifecycle(
    "Image",
    {
        ImageState.BUILDING: frozenset({ImageState.READY, ImageState.FAILED}),
        ImageState.READY: frozenset({ImageState.DELETING}),
        ImageState.DELETING: frozenset(),
        ImageState.FAILED: frozenset(),
    },
)

_TAG = re.compile(r"^[a-z0-9]([a-z0-9._/-]{0,126}[a-z0-9])?(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$")
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_PACKAGE = re.compile(r"^[a-z0-9][a-z0-9+.-]+$")
_USER = re.compile(r"^[a-z_][a-z0-9_-]{0,31}$")


def check_tag(tag: str) -> str:
    """`tag`, or InvalidInput if it cannot name an image."""
    if not _TAG.match(tag) or _DIGEST.match(tag):
        raise InvalidInput(
            f"The tag {tag!r} cannot name an image.",
            hint="Use lower-case letters, digits, '.', '_', '-', '/', and an optional ':version'.",
            field="tag",
        )
    return tag


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How to run things in the image, as its OCI config or its build says.

    Args:
        user: default user of executions, name or uid, optional ``:group``.
        env: default environment.
        workdir: default working directory; empty: the user's home.
        entrypoint, cmd: kept for information; a VM runs the agent and what it is asked to.
    """

    user: str = "root"
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = ""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """One image in the store.

    Args:
        digest: ``sha256:…`` over the manifest, which holds the digests of all parts.
        tags: names that point to it.
        architecture: as in OCI: ``amd64``, ``arm64``.
        size_bytes: bytes on disk of the root file system and whatever is not shared.
        source: where it came from: ``build:base``, ``docker://alpine:3.20`` …
        provenance: facts about the build: package versions, layer digests, tool versions.
    """

    digest: str
    tags: tuple[str, ...]
    architecture: str
    size_bytes: int
    created_at: datetime
    source: str
    config: ImageConfig = field(default_factory=ImageConfig)
    provenance: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImagePaths:
    """Where the parts of an image lie on this host. All are read-only and shared by every VM.

    Args:
        kernel: an uncompressed ELF kernel with a PVH entry.
        initrd: the initramfs.
        rootfs: squashfs; attach it read-only with the serial ``root``.
        agent_drive: squashfs; attach it read-only with the serial ``agent``.
        cmdline: the part of the kernel command line that belongs to this kernel and initramfs.
    """

    kernel: Path
    initrd: Path
    rootfs: Path
    agent_drive: Path
    cmdline: str


@dataclass(frozen=True, slots=True)
class ImageProgress:
    """How far a build or import is.

    Args:
        stage: what is being done, as a short phrase ("Installing packages").
        fraction: 0 to 1 within the stage, or None where it cannot be told.
        detail: the thing at hand, for example a package.
    """

    stage: str
    fraction: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ImageRecipe:
    """A root file system made of Debian packages.

    Args:
        name: the tag that the image gets.
        packages: beside the essential ones; apt and dpkg are always there.
        user: an unprivileged user to make (uid 1000, home and /workspace are its own), or empty.
        sudo: whether that user may become root without a password (needs the package sudo).
    """

    name: str
    packages: tuple[str, ...] = ()
    user: str = ""
    sudo: bool = False

    def __post_init__(self) -> None:
        check_tag(self.name)
        for package in self.packages:
            if not _PACKAGE.match(package):
                raise InvalidInput(
                    f"{package!r} is not the name of a Debian package.",
                    hint="Use names as apt-get knows them, without versions.",
                    field="packages",
                )
        if self.user and not _USER.match(self.user):
            raise InvalidInput(f"{self.user!r} cannot be the name of a user.", field="user")
