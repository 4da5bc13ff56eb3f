"""Options that several commands have, and what people write in them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.domain.errors import InvalidInput

if TYPE_CHECKING:
    from aetherium.domain.vms import NetworkPolicy, Resources

HELP = {"help_option_names": ["-h", "--help"]}

_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?$", re.IGNORECASE)
_SIZE_MIB = {"": 1.0, "k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0 * 1024}
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?$", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


@dataclass(frozen=True, slots=True)
class Common:
    """What stands before the command."""

    data_dir: Path | None = None
    as_json: bool = False
    quiet: bool = False
    url: str | None = None
    project: str | None = None


Json = Annotated[bool, typer.Option("--json", help="Answer with JSON, errors too.")]
Ref = Annotated[str, typer.Argument(metavar="VM", help="Id, name, or the begin of an id.")]
Refs = Annotated[list[str], typer.Argument(metavar="VM...", help="Ids, names, or begins of ids.")]
Image = Annotated[
    str | None, typer.Option("--image", "-i", metavar="IMAGE", help="Tag or digest. [default: base]")
]
Cpus = Annotated[int | None, typer.Option("--cpus", metavar="N", help="Virtual processors.")]
Memory = Annotated[str | None, typer.Option("--memory", "-m", metavar="SIZE", help="512M, 2G …")]
Disk = Annotated[str | None, typer.Option("--disk", metavar="SIZE", help="What the VM may write: 4G …")]
Network = Annotated[
    str | None, typer.Option("--network", metavar="MODE", help="none, allowlist or open. [default: none]")
]
Allow = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="DEST", help="With an allowlist: domain or CIDR, ':port' if wanted."),
]
Env = Annotated[
    list[str] | None,
    typer.Option("--env", "-e", metavar="K=V", help="Environment; K alone takes this one's value."),
]
Secret = Annotated[
    list[str] | None,
    typer.Option(
        "--secret",
        metavar="NAME[=@FILE]",
        help="From this environment or a file; never stored, masked in output.",
    ),
]
StoredSecret = Annotated[
    list[str] | None,
    typer.Option("--stored-secret", metavar="NAME", help="A stored secret, see `aetherium secret`."),
]
Driver = Annotated[str | None, typer.Option("--driver", metavar="NAME", help="[default: auto]")]


def mebibytes(text: str, field: str) -> int:
    """``512``, ``512M``, ``2G``, ``1.5GiB`` as MiB; without a unit MiB. Raises InvalidInput."""
    match = _SIZE.match(text.strip())
    if not match:
        raise InvalidInput(f"{field} is {text!r}.", hint="Write a size like 512M or 2G.", field=field)
    return round(float(match[1]) * _SIZE_MIB[match[2].lower()])


def seconds(text: str, field: str) -> float:
    """``90``, ``90s``, ``10m``, ``2h``, ``1d`` as seconds. Raises InvalidInput."""
    match = _DURATION.match(text.strip())
    if not match:
        raise InvalidInput(
            f"{field} is {text!r}.", hint="Write a duration like 90s, 10m, 2h or 1d.", field=field
        )
    return float(match[1]) * _SECONDS[(match[2] or "s").lower()]


def moment(text: str, field: str) -> datetime:
    """``2026-12-24T18:00`` in this machine's zone, or with one of its own. Raises InvalidInput."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except ValueError as error:
        raise InvalidInput(
            f"{field} is {text!r}.",
            hint="Write a time like 2026-12-24T18:00 or 2026-12-24T17:00Z.",
            field=field,
        ) from error


def pairs(given: Sequence[str] | None, field: str) -> dict[str, str]:
    """``K=V`` each. Raises InvalidInput."""
    found = {}
    for item in given or ():
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise InvalidInput(f"{field} is {item!r}.", hint="Write K=V.", field=field)
        found[name] = value
    return found


def environment(given: Sequence[str] | None) -> dict[str, str]:
    """``K=V``, or ``K`` for the value that K has here. Raises InvalidInput."""
    found = {}
    for item in given or ():
        name, equals, value = item.partition("=")
        if not equals and name not in os.environ:
            raise InvalidInput(
                f"The environment has no {name!r}.", hint=f"Write --env {name}=VALUE.", field="env"
            )
        found[name] = value if equals else os.environ[name]
    return found


def secrets(given: Sequence[str] | None) -> dict[str, str]:
    """``NAME`` from the environment, ``NAME=@FILE`` from a file. Raises InvalidInput; never takes a value
    from the command line, which every process of the host can read."""
    found = {}
    for item in given or ():
        name, equals, source = item.partition("=")
        if not _NAME.match(name):
            raise InvalidInput(
                f"{name!r} cannot name a secret.",
                hint="Use letters, digits and underscores, as in an environment variable.",
                field="secret",
            )
        if not equals:
            found[name] = _secret_from_environment(name)
        elif source.startswith("@"):
            found[name] = secret_from_file(name, Path(source[1:]))
        else:
            raise InvalidInput(
                f"The value of the secret {name} stands on the command line, where others can read it.",
                hint=f"Write --secret {name} with the value in the environment, or {name}=@FILE.",
                field="secret",
            )
    return found


def _secret_from_environment(name: str) -> str:
    if name not in os.environ:
        raise InvalidInput(
            f"The environment has no {name} for the secret.",
            hint=f"Set it, or write --secret {name}=@FILE.",
            field="secret",
        )
    return os.environ[name]


def secret_from_file(name: str, path: Path) -> str:
    """The value of a secret, without line breaks at its end. Raises InvalidInput."""
    try:
        return path.expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidInput(
            f"The file {str(path)!r} of the secret {name} cannot be read: {reason}.", field="secret"
        ) from error


def network(mode: str | None, allow: Sequence[str] | None) -> NetworkPolicy:
    """The network policy; destinations alone mean an allowlist. Raises InvalidInput."""
    from aetherium.domain.vms import NetworkMode, NetworkPolicy

    chosen = mode or ("allowlist" if allow else "none")
    if chosen not in {str(known) for known in NetworkMode}:
        raise InvalidInput(
            f"The network mode is {chosen!r}.", hint="Use none, allowlist or open.", field="network"
        )
    return NetworkPolicy(NetworkMode(chosen), tuple(allow or ()))


# The option for each field, and the unit of its limits.
_RESOURCES = {"vcpus": ("cpus", ""), "memory_mib": ("memory", " MiB"), "disk_mib": ("disk", " MiB")}


def resources(defaults: Resources, cpus: int | None, memory: str | None, disk: str | None) -> Resources:
    """A VM's size; what is not given is as in `defaults`. Raises InvalidInput."""
    from aetherium.domain.vms import Resources

    try:
        return Resources(
            defaults.vcpus if cpus is None else cpus,
            defaults.memory_mib if memory is None else mebibytes(memory, "memory"),
            defaults.disk_mib if disk is None else mebibytes(disk, "disk"),
        )
    except InvalidInput as error:
        option, unit = _RESOURCES.get(str(error.details.get("field", "")), ("", ""))
        if not option:
            raise
        given = {"cpus": cpus, "memory": memory, "disk": disk}[option]
        raise InvalidInput(
            f"--{option} is {given}.", hint=f"{error.hint.removesuffix('.')}{unit}.", field=option
        ) from error
