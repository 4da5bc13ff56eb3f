"""What answers carry beside domain values."""

from __future__ import annotations

from dataclasses import dataclass

from aetherium.domain.guest import FileStat


@dataclass(frozen=True, slots=True)
class Checksum:
    """`sha256`: in hex, of the `size_bytes` bytes of a file."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written(FileStat):
    """A file that was written; `sha256`: in hex, of what was sent."""

    sha256: str
