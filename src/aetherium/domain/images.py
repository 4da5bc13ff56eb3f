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
