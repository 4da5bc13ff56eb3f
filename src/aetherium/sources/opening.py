"""From any source to what is delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aetherium.domain.errors import InvalidInput
from aetherium.domain.jobs import (
    ArchiveSource,
    BundleSource,
    DirectorySource,
    GitSource,
    JobSource,
    PackedSource,
    UploadSource,
)
from aetherium.sources.archive import open_archive
from aetherium.sources.bundle import open_bundle
from aetherium.sources.delivery import Delivery
from aetherium.sources.directory import open_directory
from aetherium.sources.git import GitLimits
from aetherium.sources.remote import open_remote
from aetherium.sources.tarstream import limited


async def open_source(
    source: JobSource, scratch: Path, max_bytes: int, networks: Sequence[str] = ()
) -> Delivery:
    """Get `source` ready to be sent. `scratch`, a directory of the caller's, must stay until it was sent.

    Args:
        networks: see open_remote.

    Raises SourceFailed, InvalidInput, LimitExceeded (here, or while it is read).
    """
    limits = GitLimits(max_bytes)
    match source:
        case GitSource():
            found = await open_remote(source, scratch, limits, networks)
        case DirectorySource():
            found = await open_directory(source, scratch, limits)
        case BundleSource():
            found = await open_bundle(source, scratch, limits)
        case ArchiveSource():
            found = await open_archive(source)
        case PackedSource():
            raise InvalidInput("A packed source belongs to the job that it was packed for.", field="source")
        case UploadSource():
            raise InvalidInput("An upload is looked into where it was uploaded.", field="source")
    return replace(found, pieces=limited(found.pieces, max_bytes, "The source"))
