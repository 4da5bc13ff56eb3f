"""A platform on one host: services, worker and orchestrator in one process, over SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aetherium.bootstrap.audit import open_audit
from aetherium.bootstrap.callers import callers
from aetherium.bootstrap.parts import Parts, parts, private_directory
from aetherium.bootstrap.secrets import open_secrets, sealer
from aetherium.bootstrap.working import Links, make_orchestrator, make_work
from aetherium.bus.memory import open_memory_bus
from aetherium.interfaces.audit import Auditor
from aetherium.interfaces.drivers import Inspection
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.images import ImageStore
from aetherium.interfaces.objects import ObjectStore
from aetherium.interfaces.rates import RateLimiter
from aetherium.interfaces.store import Store
from aetherium.objects.local import LocalObjects
from aetherium.orchestrator.orchestrator import Orchestrator
from aetherium.queue.memory import open_memory_queue
from aetherium.rates.limiter import open_memory_limiter
from aetherium.services.activity import Activity
from aetherium.services.audit.service import AuditService
from aetherium.services.connections import Connections
from aetherium.services.doctor import Doctor
from aetherium.services.drivers import Drivers
from aetherium.services.events import EventService
from aetherium.services.executions import ExecutionService
from aetherium.services.host import Host, record_end
from aetherium.services.identity.authentication import Authenticator
from aetherium.services.identity.keys import KeyService
from aetherium.services.identity.members import MemberService
from aetherium.services.images import ImageService
from aetherium.services.job_files import LocalJobFiles, publish
from aetherium.services.jobs import JobService
from aetherium.services.journal import ExecutionJournal
from aetherium.services.launching import Launcher
from aetherium.services.locks import FileLocks
from aetherium.services.power import Power
from aetherium.services.projects import ProjectService
from aetherium.services.queues import QueueService
from aetherium.services.schedules import ScheduleService
from aetherium.services.secrets.service import SecretService
from aetherium.services.secrets.uses import SecretUses, TagsOf
from aetherium.services.settling import Settler
from aetherium.services.snapshot_files import SnapshotFiles
from aetherium.services.snapshots import SnapshotService
from aetherium.services.task_types import TaskTypes
from aetherium.services.tasks import TaskService
from aetherium.services.uploads import UploadService
from aetherium.services.vms import VMService
from aetherium.services.warm import WarmSnapshots
from aetherium.services.workers import WorkerService
from aetherium.settings import Settings
from aetherium.storage.store import open_store
from aetherium.worker.background import Tasks, tasks
from aetherium.worker.jobs.runner import VMJobRunner
from aetherium.worker.owners import Owners
from aetherium.worker.pool import WarmPools
from aetherium.worker.reaper import Reaper
from aetherium.worker.reconcile import Reconciler
from aetherium.worker.tasks.jobs import JobHandler, Publish, stay_here
from aetherium.worker.tasks.work import Work


@dataclass(frozen=True, slots=True)
class Platform:
    """The services of one process. `pools` and `reaper` are for those who look after the worker."""

    settings: Settings
    store: Store
    auditor: Auditor
    vms: VMService
    executions: ExecutionService
    snapshots: SnapshotService
    images: ImageService
    jobs: JobService
    doctor: Doctor
    host: Host
    tasks: TaskService
    schedules: ScheduleService
    queues: QueueService
    workers: WorkerService
    projects: ProjectService
    events: EventService
    secrets: SecretService
    keys: KeyService
    members: MemberService
    authenticator: Authenticator
    audit: AuditService
    rates: RateLimiter
    pools: WarmPools
    reaper: Reaper
    reconciler: Reconciler
    work: Work
    orchestrator: Orchestrator


@dataclass(frozen=True, slots=True)
class Shared:
    """What a worker of a cluster has beside a host's own things.

    Args:
        address: where its gRPC service listens, once it does.
    """

    objects: ObjectStore
    address: Callable[[], str]


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
    private_directory(settings.data_dir)
    async with (
        open_store(settings.data_dir / "aetherium.db", used.clock) as store,
        open_memory_queue() as queue,
        open_memory_bus() as bus,
        open_secrets(settings, store) as secrets,
        open_audit(settings, store) as audit,
        open_memory_limiter() as rates,
    ):
        types = TaskTypes()
        service = TaskService(store, bus, types, used.clock)
        links = Links(store, queue, bus, types, service, sealer(settings), secrets, rates, audit)
        async with open_host(settings, used, links, background=background) as platform:
            yield platform


@asynccontextmanager
async def open_host(
    settings: Settings, used: Parts, links: Links, *, background: bool, shared: Shared | None = None
) -> AsyncIterator[Platform]:
    """The services of one host over a store and a queue.

    Args:
        shared: this host is a worker of a cluster.
    """
    owners = Owners(settings.data_dir / "owners")
    with owners.own() as owner:
        async with tasks() as group:
            host = _host(settings, used, links.store, owner, group)
            platform = _platform(host, used, owners, links, group, private=not background, shared=shared)
            await platform.reconciler.reconcile()
            await _begin(platform, group, background=background, shared=shared)
            try:
                yield platform
            finally:
                await finish(_close(platform, group, background=background, shared=shared))


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


def _platform(
    host: Host,
    used: Parts,
    owners: Owners,
    links: Links,
    group: Tasks,
    *,
    private: bool,
    shared: Shared | None,
) -> Platform:
    settings = host.settings
    launcher = Launcher(host)
    warm = WarmSnapshots(host, launcher, settings.data_dir / "warm")
    pools = WarmPools(host, launcher, settings.pools)
    settler = Settler(host)
    power = Power(host, launcher, settler)
    objects = None if shared is None else shared.objects
    snapshot_files = SnapshotFiles(settings.data_dir, host.owner, objects)
    vms = VMService(host, launcher, warm, pools, power, snapshot_files)
    uses = SecretUses(links.secrets, links.audit.auditor, _tags_of(host.images))
    executions = ExecutionService(host, vms, settler, uses)
    snapshots = SnapshotService(host, vms, power, snapshot_files)
    root = settings.data_dir / "jobs"
    runner = VMJobRunner(
        vms, executions, host.images, settings, host.clock, host.owner, used.guest_scratch, uses, objects
    )
    work = make_work(
        host,
        links,
        pools,
        group,
        jobs=JobHandler(host, runner, links.bus, root, stay_here if objects is None else _publisher(objects)),
        vms=vms,
        executions=executions,
        private=private,
        address=(lambda: "") if shared is None else shared.address,
    )
    files = LocalJobFiles(root)
    kept = LocalObjects(settings.data_dir / "objects")
    uploads = UploadService(
        kept,
        host.clock,
        settings.data_dir / "forks" / f"{host.owner}.uploads",
        settings.source_mib << 20,
    )

    async def sweep() -> int:
        return await kept.sweep() + await uploads.sweep()

    known = callers(settings, links.store, uses.auditor, links.rates, host.clock)
    return Platform(
        settings=settings,
        store=links.store,
        auditor=uses.auditor,
        vms=vms,
        executions=executions,
        snapshots=snapshots,
        images=ImageService(used.images, used.builder, host.store, warm),
        jobs=JobService(
            links.store,
            links.tasks,
            links.bus,
            files,
            links.sealer,
            uses,
            host.clock,
            root,
            uploads=uploads,
            own=work if private else None,
        ),
        doctor=Doctor(settings, host.drivers, used.images),
        host=host,
        tasks=links.tasks,
        schedules=ScheduleService(links.store, links.tasks),
        queues=QueueService(links.store, links.bus, links.types),
        workers=WorkerService(links.store, links.bus),
        projects=ProjectService(links.store, links.bus),
        events=EventService(links.store, links.bus),
        secrets=SecretService(links.secrets),
        keys=known.keys,
        members=known.members,
        authenticator=known.authenticator,
        audit=links.audit,
        rates=links.rates,
        pools=pools,
        reaper=Reaper(host, power, settler),
        reconciler=Reconciler(host, owners, power, snapshots, warm),
        work=work,
        orchestrator=make_orchestrator(settings, links, host.owner, files, sweep),
    )


def _tags_of(images: ImageStore) -> TagsOf:
    async def tags_of(digest: str) -> Sequence[str]:
        return (await images.get(digest)).tags

    return tags_of


def _publisher(objects: ObjectStore) -> Publish:
    async def published(directory: Path, job_id: str, prefix: str) -> None:
        await publish(objects, directory, job_id, prefix)

    return published


async def _begin(platform: Platform, group: Tasks, *, background: bool, shared: Shared | None) -> None:
    group.loop("executions", platform.host.journal.run)
    group.loop("activity", platform.reaper.note)
    if background:
        group.loop("reaper", platform.reaper.run)
        group.loop("reconciliation", platform.reconciler.run)
        group.loop("pools", lambda: platform.pools.run(platform.vms))
        if shared is None:
            group.loop("keys", platform.keys.run)
            await platform.work.begin()
            group.loop("orchestrator", platform.orchestrator.run)


async def _close(platform: Platform, group: Tasks, *, background: bool, shared: Shared | None) -> None:
    """Nothing begins any more; what ran is finished or handed back, for another one to go on with, or, in a
    command that is its own platform, cancelled; what is known is written."""
    if background:
        await group.end("orchestrator")
        await platform.work.end(0.0 if shared is None else platform.settings.worker_grace_s)
    else:
        await platform.work.abort()
    await group.end("keys", "pools", "reaper", "reconciliation", "activity", "executions")
    await platform.pools.drain()
    await platform.host.journal.flush()
    await platform.host.activity.flush()
    await platform.host.connections.close()
