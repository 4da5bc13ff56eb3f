"""OCI images: fetched with skopeo, checked, unpacked with umoci and packed into squashfs.

The image is a stranger's. Before anything is unpacked, every layer is read once, so that its size and the
names in it are known; unpacking happens in a private directory, as root of a user namespace where the caller
is not root, by a program (umoci) that resolves every path inside the target.
"""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aetherium.domain.errors import AetheriumError, ImageFailed, InvalidInput, Unavailable
from aetherium.domain.images import ImageConfig, ImageProgress
from aetherium.images.layers import Limits, check_layer
from aetherium.images.namespace import contained
from aetherium.images.references import Reference
from aetherium.images.squashfs import pack_tree, translate
from aetherium.interfaces.images import Progress
from aetherium.process import ProcessFailed, run

_LONGEST_S = 3600.0
_LARGEST_JSON = 8 << 20
_NAME = "image"
# Where a VM mounts something; the rest of the root file system stays as it is.
_MOUNT_POINTS = {
    ".aetherium": 0o755, "dev": 0o755, "proc": 0o555, "run": 0o755, "sys": 0o555, "tmp": 0o1777, "etc": 0o755
}  # fmt: skip
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Fetched:
    """An image in a layout of its own.

    Args:
        digest: of its OCI manifest.
        layers: digests, lowest first.
    """

    layout: Path
    digest: str
    architecture: str
    config: ImageConfig
    layers: tuple[str, ...]
    media_types: tuple[str, ...]


async def fetch(reference: Reference, staging: Path, architecture: str, progress: Progress) -> Fetched:
    """Copy the image to `staging`; skopeo checks digests. Raises ImageFailed, InvalidInput, Unavailable."""
    progress(ImageProgress("Fetching the image", None, reference.location))
    layout = staging / "oci"
    argv = [
        "skopeo", "--insecure-policy", "--override-os", "linux", "--override-arch", architecture,
        "--tmpdir", str(staging), "copy", "--quiet", reference.skopeo, f"oci:{layout}:{_NAME}",
    ]  # fmt: skip
    try:
        await run(contained(argv), timeout_s=_LONGEST_S)
    except ProcessFailed as error:
        raise _fetch_error(error, reference) from error
    return await asyncio.to_thread(_read, layout, architecture)


def _fetch_error(error: ProcessFailed, reference: Reference) -> AetheriumError:
    text = str(error.details["stderr"])
    if "no image found in" in text and "for architecture" in text:
        return ImageFailed(
            f"{reference.skopeo} has no image for this architecture.", hint="Import one for linux/amd64."
        )
    if reference.kind == "docker":
        if "unauthorized" in text or "denied" in text:
            return InvalidInput(
                f"The registry refuses {reference.location}: it does not exist, or needs a login.",
                hint="Log in with 'skopeo login', or check the name.",
                field="source",
            )
        if "manifest unknown" in text or "not found" in text:
            return InvalidInput(f"The registry has no image {reference.location}.", field="source")
        if "dial tcp" in text or "lookup" in text or "timeout" in text:
            return Unavailable(
                f"The registry of {reference.location} cannot be reached.", stderr=text[-2000:]
            )
    return translate(error, f"The image {reference.skopeo} cannot be read")


def _read(layout: Path, architecture: str) -> Fetched:
    try:
        index = _load(layout / "index.json")
        digest = index["manifests"][0]["digest"]
        manifest = _load(_blob(layout, digest))
        document = _load(_blob(layout, manifest["config"]["digest"]))
        layers = tuple(layer["digest"] for layer in manifest["layers"])
        media_types = tuple(layer["mediaType"] for layer in manifest["layers"])
        machine, system = document.get("architecture", ""), document.get("os", "linux")
        config = _config(document.get("config") or {})
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OSError) as error:
        raise ImageFailed(f"The image is damaged: {error!r}.") from error
    if (system, machine) != ("linux", architecture):
        raise ImageFailed(
            f"The image is for {system}/{machine}; this host runs linux/{architecture}.",
            hint=f"Import one for linux/{architecture}.",
            architecture=machine,
        )
    return Fetched(layout, digest, machine, config, layers, media_types)


def _blob(layout: Path, digest: str) -> Path:
    algorithm, _, name = digest.partition(":")
    if algorithm != "sha256" or len(name) != 64 or not set(name) <= set("0123456789abcdef"):
        raise ValueError(f"unusable digest {digest!r}")
    return layout / "blobs" / "sha256" / name


def _load(path: Path) -> Any:
    if path.stat().st_size > _LARGEST_JSON:
        raise ValueError(f"{path.name} is too large")
    return json.loads(path.read_bytes())


def _config(value: Mapping[str, Any]) -> ImageConfig:
    """Section "Properties" of the OCI image configuration."""
    env = {"PATH": _DEFAULT_PATH}
    for item in value.get("Env") or ():
        name, _, content = str(item).partition("=")
        if name and "\0" not in item:
            env[name] = content
    return ImageConfig(
        user=str(value.get("User") or "root"),
        env=env,
        workdir=str(value.get("WorkingDir") or ""),
        entrypoint=tuple(map(str, value.get("Entrypoint") or ())),
        cmd=tuple(map(str, value.get("Cmd") or ())),
    )


async def make_rootfs(
    fetched: Fetched, staging: Path, target: Path, max_bytes: int, progress: Progress
) -> None:
    """Check and unpack the layers, and make the squashfs `target`."""
    limits = Limits(max_bytes)
    for number, (digest, media_type) in enumerate(zip(fetched.layers, fetched.media_types, strict=True)):
        progress(ImageProgress("Checking layers", number / len(fetched.layers), digest[:19]))
        await asyncio.to_thread(check_layer, _blob(fetched.layout, digest), media_type, limits)
    progress(ImageProgress("Unpacking layers"))
    bundle = staging / "bundle"
    argv = ["umoci", "--log=error", "unpack", "--image", f"{fetched.layout}:{_NAME}", str(bundle)]
    try:
        await run(contained(argv), timeout_s=_LONGEST_S)
    except ProcessFailed as error:
        raise translate(error, "The layers cannot be unpacked") from error
    rootfs = bundle / "rootfs"
    pseudo = await asyncio.to_thread(_missing_mount_points, rootfs)
    progress(ImageProgress("Packing the root file system"))
    await pack_tree(rootfs, target, pseudo=pseudo)


def _missing_mount_points(rootfs: Path) -> list[str]:
    """What mksquashfs is to add. Raises ImageFailed where the image has something else than a directory."""
    missing = []
    for name, mode in _MOUNT_POINTS.items():
        try:
            kind = (rootfs / name).lstat().st_mode
        except FileNotFoundError:
            missing.append(f"{name} d {mode:o} 0 0")
            continue
        if not stat.S_ISDIR(kind):
            raise ImageFailed(
                f"The image has /{name} as something else than a directory, so it cannot be booted.",
                path=f"/{name}",
            )
    return missing
