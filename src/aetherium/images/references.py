"""Where images come from: ``docker://NAME[:TAG]``, ``oci:DIR[:TAG]``, ``docker-archive:FILE``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from aetherium.domain.errors import InvalidInput
from aetherium.domain.images import check_tag

_DOCKER = re.compile(
    r"^(?P<name>[a-z0-9]([a-z0-9._-]*[a-z0-9])?(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)"
    r"(:(?P<tag>\w[\w.-]{0,127}))?(?P<digest>@sha256:[0-9a-f]{64})?$"
)
_OCI_TAG = re.compile(r"^(?P<path>.*?)(:(?P<tag>[A-Za-z0-9][A-Za-z0-9._-]*))?$")


@dataclass(frozen=True, slots=True)
class Reference:
    """A checked source.

    Args:
        kind: ``docker``, ``oci`` or ``docker-archive``.
        location: for skopeo, with everything after the transport's name.
        name: the tag that an image gets when none is given; empty if the source suggests none.
    """

    kind: str
    location: str
    name: str

    @property
    def skopeo(self) -> str:
        """The source in skopeo's words (containers-transports(5))."""
        return f"docker://{self.location}" if self.kind == "docker" else f"{self.kind}:{self.location}"


def parse(source: str) -> Reference:
    """The reference in `source`. Raises InvalidInput, for instance when a file is not there."""
    kind, colon, rest = source.partition(":")
    if not colon or kind not in ("docker", "oci", "docker-archive") or not rest:
        raise InvalidInput(
            f"{source!r} is no source of images.",
            hint="Use docker://NAME[:TAG], oci:DIRECTORY[:TAG] or docker-archive:FILE.",
            field="source",
        )
    if kind == "docker":
        return _docker(source, rest.removeprefix("//"))
    return _oci(source, rest) if kind == "oci" else _archive(source, rest)


def _docker(source: str, rest: str) -> Reference:
    match = _DOCKER.match(rest)
    if match is None:
        raise InvalidInput(f"{source!r} names no image of a registry.", field="source")
    tag = "" if match["digest"] else f":{match['tag'] or 'latest'}"
    # A tag beside a digest says nothing more, and skopeo refuses both.
    return Reference(
        "docker", f"{match['name']}{tag}{match['digest'] or ''}", _suggest(f"{match['name']}{tag}")
    )


def _oci(source: str, rest: str) -> Reference:
    match = _OCI_TAG.match(rest)
    path, tag = (Path(match["path"]), match["tag"] or "") if match else (Path(rest), "")
    if not (path / "index.json").is_file():
        raise InvalidInput(
            f"{str(path)!r} is no OCI image layout: it has no index.json.",
            hint="Give the directory that 'skopeo copy … oci:DIRECTORY' or 'umoci init' made.",
            field="source",
        )
    absolute = path.resolve()
    if ":" in str(absolute):
        raise InvalidInput(
            f"The path {str(absolute)!r} has a colon, which skopeo cannot take.", field="source"
        )
    location = f"{absolute}:{tag}" if tag else str(absolute)
    return Reference("oci", location, _suggest(f"{absolute.name}:{tag}" if tag else absolute.name))


def _archive(source: str, rest: str) -> Reference:
    path = Path(rest)
    if not path.is_file():
        raise InvalidInput(
            f"There is no file {str(path)!r}.",
            hint="Give a file that 'docker save' made.",
            field="source",
        )
    absolute = path.resolve()
    if ":" in str(absolute):
        raise InvalidInput(
            f"The path {str(absolute)!r} has a colon, which skopeo cannot take.", field="source"
        )
    return Reference("docker-archive", str(absolute), _suggest(absolute.name.split(".")[0]))


def _suggest(name: str) -> str:
    try:
        return check_tag(name.lower().strip("._-"))
    except InvalidInput:
        return ""
