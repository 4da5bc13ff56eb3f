"""The files of the store; every function here blocks and is called in a thread.

::

    images/
      lock                      flock: exclusive for every change
      blobs/sha256/HEX          parts, read-only, shared between images
      manifests/HEX.json        one per image; its time is when the image came here
      tags.json                 tag → digest
      holds/HEX/HOLDER          empty files: who uses the image
      cache/NAME.json           what builds remember; may name blobs, which are then kept
      staging/build-X{,.lock}   builds in progress
      incoming/HEX              parts on their way from another host, locked by who fetches them
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aetherium.domain.errors import NotFound
from aetherium.images.locks import fsync_dir, try_lock, write_atomic
from aetherium.images.manifest import Manifest, canonical, decode


class Layout:
    """Paths and single-file operations. No locking: the callers lock `lock`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / "lock"
        self.blobs = root / "blobs" / "sha256"
        self.manifests = root / "manifests"
        self.holds = root / "holds"
        self.cache = root / "cache"
        self.staging = root / "staging"
        self.incoming = root / "incoming"
        self._tags = root / "tags.json"

    def create(self) -> None:
        """Make the directories that are missing. Private: images may hold what is nobody else's business."""
        for path in (self.blobs, self.manifests, self.holds, self.cache, self.staging, self.incoming):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def blob(self, digest: str) -> Path:
        """Where a part lies."""
        return self.blobs / digest.removeprefix("sha256:")

    def manifest_path(self, digest: str) -> Path:
        """Where an image's manifest lies."""
        return self.manifests / f"{digest.removeprefix('sha256:')}.json"

    def digests(self) -> list[str]:
        """All images."""
        return [f"sha256:{path.stem}" for path in self.manifests.glob("[0-9a-f]*.json")]

    def read_manifest(self, digest: str) -> tuple[Manifest, float]:
        """A manifest and when it came, in POSIX seconds. Raises NotFound."""
        try:
            with self.manifest_path(digest).open("rb") as file:
                return decode(file.read()), os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            raise NotFound("image", digest, hint="See: aetherium image list") from None

    def tags(self) -> dict[str, str]:
        """Tag → digest."""
        try:
            value: dict[str, str] = json.loads(self._tags.read_bytes())
        except FileNotFoundError:
            return {}
        return value

    def write_tags(self, tags: Mapping[str, str]) -> None:
        """Replace all tags."""
        write_atomic(self._tags, canonical(dict(tags)))

    def add_blob(self, file: Path, digest: str) -> None:
        """Move a finished, durable file in; if the store has it already, drop it."""
        target = self.blob(digest)
        if target.exists():
            file.unlink()
            return
        file.chmod(0o444)
        file.rename(target)
        fsync_dir(self.blobs)

    def holders(self, digest: str) -> list[str]:
        """Who holds an image."""
        path = self.holds / digest.removeprefix("sha256:")
        try:
            return sorted(entry.name for entry in path.iterdir())
        except FileNotFoundError:
            return []

    def recall(self, name: str) -> dict[str, Any] | None:
        """What a build has remembered under `name`."""
        try:
            value: dict[str, Any] = json.loads((self.cache / f"{name}.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None  # A damaged memory is no memory: the build is made again.
        return value

    def remember(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep `value` under `name`. Digests under its key ``blobs`` are kept by `prune`."""
        write_atomic(self.cache / f"{name}.json", canonical(dict(value)))

    def sweep_incoming(self) -> None:
        """Remove what nobody fetches any more."""
        for path in self.incoming.iterdir():
            fd = try_lock(path)
            if fd is not None:
                path.unlink()
                os.close(fd)

    def remembered_blobs(self) -> Iterator[str]:
        """Digests that the memory of builds keeps alive."""
        for path in self.cache.glob("*.json"):
            yield from (self.recall(path.stem) or {}).get("blobs", ())


def digest_file(path: Path) -> str:
    """``sha256:…`` of a file, which is made durable as well."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return f"sha256:{digest}"
