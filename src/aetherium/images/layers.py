"""The layers of an OCI image, read once before anything is unpacked, within limits."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

from aetherium.domain.errors import ImageFailed, LimitExceeded

MAX_ENTRIES = 2_000_000
_PLAIN = ("application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar")
_GZIP = tuple(f"{kind}+gzip" for kind in _PLAIN)


class Limits:
    """What is left of the allowance for one image.

    Args:
        max_bytes: for all files of all layers together, unpacked.
        max_entries: for the number of them.
    """

    def __init__(self, max_bytes: int, max_entries: int = MAX_ENTRIES) -> None:
        self._bytes_limit = max_bytes
        self._bytes = max_bytes
        self._entries_limit = max_entries
        self._entries = max_entries

    def take(self, size: int) -> None:
        """Count one entry of `size` bytes. Raises LimitExceeded."""
        self._bytes -= size
        self._entries -= 1
        if self._bytes < 0:
            raise LimitExceeded(
                f"The image has more than {self._bytes_limit} bytes when unpacked.",
                hint="Give a higher limit if you trust it.",
                limit=self._bytes_limit,
            )
        if self._entries < 0:
            raise LimitExceeded(
                f"The image has more than {self._entries_limit} files.", limit=self._entries_limit
            )


def check_layer(path: Path, media_type: str, limits: Limits) -> None:
    """Read a layer to its end. Raises ImageFailed when it is no usable archive, and LimitExceeded."""
    if media_type in _GZIP:
        mode = "r|gz"
    elif media_type in _PLAIN:
        mode = "r|"
    else:
        raise ImageFailed(
            f"A layer has the type {media_type!r}, which cannot be unpacked.",
            hint="Copy the image with: skopeo copy --dest-compress-format gzip",
            media_type=media_type,
        )
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]  # the mode is a variable
            for member in archive:
                _check_member(member, limits)
                archive.members = []  # Or all of them would be kept.
    except (
        tarfile.TarError,
        zlib.error,
        EOFError,
        OSError,
        UnicodeError,
        ValueError,
        OverflowError,
    ) as error:
        raise ImageFailed(f"A layer is no usable tar archive: {error}.", layer=path.name) from error


def _check_member(member: tarfile.TarInfo, limits: Limits) -> None:
    # A sparse file counts as what it will be, not as what the archive holds of it.
    limits.take(max(member.size, 0))
    parts = member.name.split("/")
    if ".." in parts:
        raise ImageFailed(
            f"A layer has an entry that climbs out of the root: {member.name[:200]!r}.",
            entry=member.name[:200],
        )
    if member.islnk() and ".." in member.linkname.split("/"):
        raise ImageFailed(
            f"A layer has a hard link that climbs out of the root: {member.linkname[:200]!r}.",
            entry=member.name[:200],
        )
