"""The adapters of a host: drivers, images, the way to guests; and its data directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aetherium.channel.connector import Connector
from aetherium.domain.errors import InvalidInput, Unavailable
from aetherium.images.builder import DiskImageBuilder
from aetherium.images.store import DiskImageStore
from aetherium.interfaces.clock import Clock, SystemClock
from aetherium.interfaces.drivers import VMDriver
from aetherium.interfaces.guest import GuestConnector
from aetherium.interfaces.images import ImageBuilder, ImageStore
from aetherium.settings import Settings


@dataclass(frozen=True, slots=True)
class Parts:
    """The adapters of a platform; tests put their own in.

    Args:
        guest_scratch: directory of guests in which patches of jobs are prepared.
    """

    drivers: Sequence[VMDriver]
    images: ImageStore
    builder: ImageBuilder
    connector: GuestConnector
    clock: Clock
    guest_scratch: str = "/var/tmp"  # noqa: S108 - of the guest: root's directory in it is made before any step


def parts(settings: Settings) -> Parts:
    """The adapters that the settings ask for. Raises InvalidInput for an unknown driver."""
    images = DiskImageStore(settings.data_dir / "images")
    return Parts(
        drivers=[_driver(name, settings.data_dir) for name in settings.drivers],
        images=images,
        builder=DiskImageBuilder(images),
        connector=Connector(),
        clock=SystemClock(),
    )


def _qemu(root: Path) -> VMDriver:
    from aetherium.drivers.qemu import QemuDriver

    return QemuDriver(root)


def _fake(root: Path) -> VMDriver:
    from aetherium.drivers.fake import FakeDriver

    return FakeDriver(root)


# Name → what makes it, and its directory below the data directory. A driver owns all that lies in its own.
_DRIVERS: Mapping[str, tuple[Callable[[Path], VMDriver], str]] = {
    "qemu": (_qemu, "vms"),
    "fake": (_fake, "fake"),
}


def _driver(name: str, data_dir: Path) -> VMDriver:
    if name not in _DRIVERS:
        raise InvalidInput(
            f"The setting drivers has {name!r}, which is no driver.",
            hint=f"There are: {', '.join(_DRIVERS)}.",
            field="drivers",
        )
    make, directory = _DRIVERS[name]
    return make(data_dir / directory)


def private_directory(directory: Path) -> None:
    """Make the data directory, which is nobody else's business.

    One that others may write to is refused: they could put their files in our way, and to take a place like
    /tmp for ourselves would be worse.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise InvalidInput(
                f"Others own the data directory {directory}, or may write to it.",
                hint=f"Choose another one (AETHERIUM_DATA_DIR), or: chmod 700 {directory}",
                field="data_dir",
            )
        if found.st_mode & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise Unavailable(
            f"The data directory {directory} cannot be used: {error.strerror}.",
            hint="Choose another one with AETHERIUM_DATA_DIR.",
        ) from error
