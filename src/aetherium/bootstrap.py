"""The one place that names concrete classes: from settings to a platform that works."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aetherium.channel.connector import Connector
from aetherium.domain.errors import InvalidInput, Unavailable
from aetherium.images.builder import DiskImageBuilder
from aetherium.images.store import DiskImageStore
from aetherium.interfaces.clock import Clock, SystemClock
from aetherium.interfaces.drivers import Inspection, VMDriver
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.guest import GuestConnector
from aetherium.interfaces.images import ImageBuilder, ImageStore
from aetherium.interfaces.store import Store
from aetherium.services.activity import Activity
from aetherium.services.connections import Connections
from aetherium.services.doctor import Doctor
from aetherium.services.drivers import Drivers
from aetherium.services.executions import ExecutionService
from aetherium.services.host import Host, record_end
from aetherium.services.images import ImageService
from aetherium.services.jobs import JobService
from aetherium.services.journal import ExecutionJournal
from aetherium.services.launching import Launcher
from aetherium.services.locks import FileLocks
from aetherium.services.power import Power
from aetherium.services.settling import Settler
from aetherium.services.snapshots import SnapshotService
from aetherium.services.vms import VMService
from aetherium.services.warm import WarmSnapshots
from aetherium.settings import Settings
from aetherium.storage.store import open_store
from aetherium.worker.background import Tasks, tasks
from aetherium.worker.jobs.runner import VMJobRunner
from aetherium.worker.owners import Owners
from aetherium.worker.pool import WarmPools
from aetherium.worker.reaper import Reaper
from aetherium.worker.reconcile import Reconciler


@dataclass(frozen=True, slots=True)
class Platform:
    """The services of one process. `pools` and `reaper` are for those who look after the worker."""

    settings: Settings
    vms: VMService
    executions: ExecutionService
    snapshots: SnapshotService
    images: ImageService
    jobs: JobService
    doctor: Doctor
    host: Host
    pools: WarmPools
    reaper: Reaper
    reconciler: Reconciler


@dataclass(frozen=True, slots=True)
class Parts:
    """The adapters of a platform; tests put their own in."""

    drivers: Sequence[VMDriver]
    images: ImageStore
    builder: ImageBuilder
    connector: GuestConnector
    clock: Clock


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


@asynccontextmanager
async def open_platform(
    settings: Settings, *, background: bool, adapters: Parts | None = None
) -> AsyncIterator[Platform]:
    """Open the state, set right what killed processes have left, and run what has to run.

    Args:
        background: this process stays: it fills pools, carries out TTLs and idle policies, and watches all
            VMs. Otherwise it looks only after what it uses itself.

    Raises InvalidInput (settings), Unavailable (the data directory), Conflict (a newer database).
    """
    used = adapters or parts(settings)
    _private(settings.data_dir)
    owners = Owners(settings.data_dir / "owners")
    with owners.own() as owner:
        async with (
            open_store(settings.data_dir / "aetherium.db", used.clock) as store,
            tasks() as group,
        ):
            host = _host(settings, used, store, owner, group)
            platform = _platform(host, used, owners)
            await platform.reconciler.reconcile()
            _begin(platform, group, background=background)
            try:
                yield platform
            finally:
                await finish(_close(platform, group))


@asynccontextmanager
async def open_gateway(
    settings: Settings, *, background: bool, adapters: Parts | None = None
) -> AsyncIterator[Path]:
    """A platform behind its HTTP API; yields the Unix socket that it listens at.

    With `background` that is the socket of the settings, which only one process at a time has (Conflict);
    else a private one, for the command that runs in this process.
    """
    # Late: who needs the services only does not pay for the web framework.
    from aetherium.gateway.server import place, serve_platform

    with place(settings.sockets, settings.socket if background else None) as socket:
        async with (
            open_platform(settings, background=background, adapters=adapters) as platform,
            serve_platform(platform, socket, grace_s=5.0 if background else 1.0),
        ):
            yield socket


def _host(settings: Settings, used: Parts, store: Store, owner: str, group: Tasks) -> Host:
    drivers = Drivers(used.drivers)
    journal = ExecutionJournal(store.executions)

    async def ended(vm_id: str, end: Inspection) -> None:
        journal.lose(vm_id, used.clock.now())
        await record_end(store, drivers, used.clock, vm_id, end)

    return Host(
        settings=settings,
        store=store,
        images=used.images,
        drivers=drivers,
        clock=used.clock,
        owner=owner,
        locks=FileLocks(settings.data_dir / "locks"),
        connections=Connections(drivers, used.connector, group, ended),
        activity=Activity(store.vms, used.clock),
        journal=journal,
        group=group,
    )


def _platform(host: Host, used: Parts, owners: Owners) -> Platform:
    settings = host.settings
    launcher = Launcher(host)
    warm = WarmSnapshots(host, launcher, settings.data_dir / "warm")
    pools = WarmPools(host, launcher, settings.pools)
    settler = Settler(host)
    power = Power(host, launcher, settler)
    vms = VMService(host, launcher, warm, pools, power)
    executions = ExecutionService(host, vms, settler)
    snapshots = SnapshotService(host, vms, power)
    runner = VMJobRunner(vms, executions, host.images, settings, host.clock, host.owner)
    return Platform(
        settings=settings,
        vms=vms,
        executions=executions,
        snapshots=snapshots,
        images=ImageService(used.images, used.builder, host.store, warm),
        jobs=JobService(host, runner, host.group),
        doctor=Doctor(settings, host.drivers, used.images),
        host=host,
        pools=pools,
        reaper=Reaper(host, power, settler),
        reconciler=Reconciler(host, owners, power, snapshots, warm),
    )


def _begin(platform: Platform, group: Tasks, *, background: bool) -> None:
    group.loop("executions", platform.host.journal.run)
    group.loop("activity", platform.reaper.note)
    if background:
        group.loop("reaper", platform.reaper.run)
        group.loop("reconciliation", platform.reconciler.run)
        group.loop("pools", lambda: platform.pools.run(platform.vms))


async def _close(platform: Platform, group: Tasks) -> None:
    """Nothing begins any more; what waited goes; what is known is written."""
    await platform.jobs.close()
    await group.end("pools", "reaper", "reconciliation", "activity", "executions")
    await platform.pools.drain()
    await platform.host.journal.flush()
    await platform.host.activity.flush()
    await platform.host.connections.close()


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


def _private(directory: Path) -> None:
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
