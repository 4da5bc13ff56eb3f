"""The manifest: the one small file that says what an image consists of. Its SHA-256 is the image's digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from aetherium.domain.errors import ImageFailed, InvalidInput
from aetherium.domain.images import ImageConfig

FORMAT = 1
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def sha256(data: bytes) -> str:
    """``sha256:…`` of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_digest(text: str) -> bool:
    """Whether it has the form of a whole digest."""
    return bool(_DIGEST.fullmatch(text))


def check_digest(digest: str) -> str:
    """`digest`, or InvalidInput for what is none: files and objects are named after it."""
    if not is_digest(digest):
        raise InvalidInput(f"{digest[:80]!r} is no digest.", hint="It is sha256:…, whole.", field="digest")
    return digest


@dataclass(frozen=True, slots=True)
class Platform:
    """What every image shares: digests of kernel, initramfs and agent drive.

    Args:
        cmdline: kernel arguments that belong to them.
        facts: versions of the packages they were made from.
    """

    kernel: str
    initrd: str
    agent_drive: str
    cmdline: str
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """Digests of the files."""
        return (self.kernel, self.initrd, self.agent_drive)


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image's parts and facts. No time and no host in it: the same content has the same digest."""

    rootfs: str
    rootfs_bytes: int
    platform: Platform
    architecture: str
    source: str
    config: ImageConfig = field(default_factory=ImageConfig)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """Digests of all files."""
        return (self.rootfs, *self.platform.parts)

    def encode(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces."""
        return canonical({"format": FORMAT, **asdict(self)})


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode_platform(value: Mapping[str, Any]) -> Platform:
    """The platform from its JSON value."""
    return Platform(**value)


def decode(data: bytes) -> Manifest:
    """The manifest from its file. Raises ImageFailed if this version cannot read it."""
    try:
        value = json.loads(data)
        version = value.pop("format")
        if version != FORMAT:
            raise ImageFailed(
                f"The image manifest has format {version}, this version reads {FORMAT}.",
                hint="Remove the image and build or import it again.",
            )
        config = value.pop("config")
        config = ImageConfig(
            **{**config, "entrypoint": tuple(config["entrypoint"]), "cmd": tuple(config["cmd"])}
        )
        return Manifest(**value | {"platform": decode_platform(value["platform"]), "config": config})
    except (ValueError, KeyError, TypeError) as error:
        raise ImageFailed(
            "An image manifest in the store is damaged.",
            hint="Remove the file named in the details.",
            cause=str(error),
        ) from error
