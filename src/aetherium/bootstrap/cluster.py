"""A cluster's processes: gateways, orchestrators, workers, over PostgreSQL, Redis and an object store."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from pydantic import SecretStr

from aetherium.bootstrap.audit import open_audit
from aetherium.bootstrap.callers import callers
from aetherium.bootstrap.parts import Parts, parts, private_directory
from aetherium.bootstrap.platform import Platform, Shared, open_host
from aetherium.bootstrap.secrets import open_secrets, sealer
from aetherium.bootstrap.serving import Opened, grpc
from aetherium.bootstrap.working import Links, make_orchestrator, worker_id
from aetherium.bus.redis import open_redis_bus
from aetherium.domain.errors import InvalidInput, Unavailable
from aetherium.domain.ids import new_id
from aetherium.domain.jobs import JobSpec
from aetherium.domain.workers import PRESENT
from aetherium.gateway.remote.channels import Channels
from aetherium.gateway.remote.executions import RemoteExecutions
from aetherium.gateway.remote.images import RemoteImageParts
from aetherium.gateway.remote.platform import RemotePlatform, remote_platform
from aetherium.gateway.remote.snapshots import RemoteSnapshots
from aetherium.gateway.remote.vms import RemoteVMs
from aetherium.gateway.remote.workers import Workers
from aetherium.images.blobs import AskPeer, LocalBlobs
from aetherium.images.peers import Peers
from aetherium.images.shared import SharedImageStore
from aetherium.images.store import DiskImageStore
from aetherium.images.transfer import push
from aetherium.interfaces.audit import Auditor
from aetherium.interfaces.background import beside
from aetherium.interfaces.clock import Clock, SystemClock
from aetherium.interfaces.objects import ObjectStore
from aetherium.interfaces.pool import NoPool
from aetherium.interfaces.rates import RateLimiter
from aetherium.interfaces.store import Store
from aetherium.objects.opening import open_objects
from aetherium.objects.s3 import S3Access
from aetherium.orchestrator.orchestrator import Orchestrator
from aetherium.queue.redis import open_redis_queue
from aetherium.rates.limiter import open_redis_limiter
from aetherium.rpc.tls import mutual_identity
from aetherium.services.audit.service import AuditService
from aetherium.services.cluster_vms import VMMaker
from aetherium.services.doctor import Doctor
from aetherium.services.drivers import Drivers
from aetherium.services.events import EventService
from aetherium.services.identity.authentication import Authenticator
from aetherium.services.identity.keys import KeyService
from aetherium.services.identity.members import MemberService
from aetherium.services.job_files import LocalJobFiles, SharedJobFiles
from aetherium.services.jobs import JobService, Prepare
from aetherium.services.projects import ProjectService
from aetherium.services.queues import QueueService
from aetherium.services.schedules import ScheduleService
from aetherium.services.secrets.service import SecretService
from aetherium.services.secrets.uses import SecretUses, TagsOf
from aetherium.services.shared_images import SharedImageService
from aetherium.services.snapshot_files import key_of, sweep_snapshots
from aetherium.services.task_types import TaskTypes
from aetherium.services.tasks import TaskService
from aetherium.services.uploads import UploadService
from aetherium.services.workers import WorkerService
from aetherium.settings import Settings
from aetherium.storage.store import open_store
from aetherium.worker.grpc.images import no_images
from aetherium.worker.grpc.server import serve_worker
from aetherium.worker.jobs.sources.packed import pack

# A peer that is there answers in milliseconds; the object store has the same images.
_PEER_CONNECT_S = 2.0


@dataclass(frozen=True, slots=True)
class ClusterPlatform:
    """The services of a gateway of a cluster."""

    settings: Settings
    store: Store
    auditor: Auditor
    vms: RemoteVMs
    executions: RemoteExecutions
    snapshots: RemoteSnapshots
    images: SharedImageService
    jobs: JobService
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
    doctor: Doctor
    pools: NoPool


def _needed(settings: Settings, name: str, what: str) -> str:
    value = getattr(settings, name)
    if value is None:
        raise InvalidInput(
            f"The setting {name} is missing: {what}.",
            hint=f"Set AETHERIUM_{name.upper()}, or name a file in AETHERIUM_{name.upper()}_FILE.",
            field=name,
        )
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _objects(settings: Settings) -> ObjectStore:
    access = S3Access(
        endpoint=settings.objects_endpoint or "",
        region=settings.objects_region,
        access_key_id=settings.objects_key_id,
        secret_access_key=settings.objects_secret,
    )
    return open_objects(_needed(settings, "objects_url", "all hosts share an object store"), access)


@asynccontextmanager
async def _links(settings: Settings, worker: str | None) -> AsyncIterator[Links]:
    """Connections to what a cluster shares."""
    private_directory(settings.data_dir)
    _needed(settings, "master_key", "all processes of a cluster share it")
    database = _needed(settings, "database_url", "a cluster keeps its state in PostgreSQL")
    redis = _needed(settings, "redis_url", "a cluster's tickets and hints go over Redis")
    clock = SystemClock()
    async with (
        open_store(database, clock, worker_id=worker) as store,
        open_redis_queue(redis, lease_s=settings.lease_s) as queue,
        open_redis_bus(redis) as bus,
        open_secrets(settings, store) as secrets,
        open_audit(settings, store) as audit,
        open_redis_limiter(redis) as rates,
    ):
        types = TaskTypes()
        service = TaskService(store, bus, types, clock)
        yield Links(store, queue, bus, types, service, sealer(settings), secrets, rates, audit)


@asynccontextmanager
async def open_worker(settings: Settings, adapters: Parts | None = None) -> AsyncIterator[Platform]:
    """A worker; it takes tasks from when the block is entered on. At its end it is drained."""
    token = _needed(settings, "cluster_token", "gateways and workers know one another by it")
    objects = _objects(settings)
    private_directory(settings.data_dir)
    me = worker_id(settings.data_dir)
    bound = ""
    shared = Shared(objects, lambda: bound)
    files = LocalJobFiles(settings.data_dir / "jobs")
    listen, identity = settings.worker_listen or _socket(settings), mutual_identity(settings)
    async with _links(settings, me) as links, Channels(token, identity) as channels:
        used, image_parts = _share_images(adapters or parts(settings), objects, links.store, channels, me)
        async with (
            open_host(settings, used, links, background=True, shared=shared) as platform,
            serve_worker(platform, files, listen, token, identity, image_parts=image_parts) as address,
        ):
            bound = settings.worker_advertise or address
            await platform.work.begin()
            try:
                yield platform
            finally:
                # Before the way to its VMs is closed: what runs may still be watched.
                await platform.work.end(settings.worker_grace_s)


def _share_images(
    used: Parts, objects: ObjectStore, store: Store, channels: Channels, me: str
) -> tuple[Parts, AskPeer]:
    """What a worker uses, with images that come from other workers or the object store; and what others may
    read of its own."""
    local = used.images
    if not isinstance(local, DiskImageStore):
        return used, no_images
    reached = Workers(channels, _Addresses(store).find, patience_s=0.0, connect_s=_PEER_CONNECT_S)
    peers = Peers(store.workers, RemoteImageParts(reached).read, me)
    shared = SharedImageStore(local, objects, peers=peers.find)
    return replace(used, images=shared), LocalBlobs(local).open


def _socket(settings: Settings) -> str:
    settings.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"unix:{settings.sockets / 'worker.sock'}"


@asynccontextmanager
async def open_orchestrator(settings: Settings) -> AsyncIterator[Orchestrator]:
    """An orchestrator, to be run."""
    objects = _objects(settings)
    async with _links(settings, None) as links:

        def nowhere(*_: object) -> AsyncIterator[bytes]:
            raise Unavailable("An orchestrator reads no files of jobs.")

        async def sweep() -> int:
            kept = _uploads(settings, objects, SystemClock())
            return await objects.sweep() + await sweep_snapshots(links.store, objects) + await kept.sweep()

        files = SharedJobFiles(links.store, objects, nowhere)
        yield make_orchestrator(settings, links, new_id("orc"), files, sweep)


@asynccontextmanager
async def open_cluster_platform(settings: Settings) -> AsyncIterator[ClusterPlatform]:
    """The services of a gateway."""
    token = _needed(settings, "cluster_token", "gateways and workers know one another by it")
    objects = _objects(settings)
    used = parts(settings)
    async with _links(settings, None) as links, Channels(token, mutual_identity(settings)) as channels:
        store = links.store
        maker = VMMaker(store, links.tasks)
        uses = SecretUses(links.secrets, links.audit.auditor, _tags_of(store))

        async def forget_snapshot(snapshot_id: str) -> None:
            await objects.remove(key_of(snapshot_id))

        remote = remote_platform(
            store,
            channels,
            _Addresses(store).find,
            maker.create,
            uses,
            output_mib=settings.output_mib,
            forget_snapshot=forget_snapshot,
        )
        yield _platform(settings, used, links, remote, objects, uses)


class _Addresses:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def find(self, worker: str) -> str:
        """Where a worker listens. Raises Unavailable."""
        found = await self._store.workers.get(worker)
        if found.state not in PRESENT or not found.info.address:
            raise Unavailable(
                f"The worker {found.info.name} is {found.state}, and with it what it holds.",
                hint="Start it again; its VMs go on running meanwhile. See: aetherium worker list",
                worker_id=worker,
            )
        return found.info.address


def _platform(
    settings: Settings,
    used: Parts,
    links: Links,
    remote: RemotePlatform,
    objects: ObjectStore,
    uses: SecretUses,
) -> ClusterPlatform:
    images = used.images

    async def bring(ref: str) -> None:
        if isinstance(images, DiskImageStore):
            await push(images, objects, ref)

    def read_from(worker: str, job_id: str, name: str, offset: int) -> AsyncIterator[bytes]:
        return remote.job_files.read(worker, job_id, name, offset=offset)

    known = callers(settings, links.store, uses.auditor, links.rates, used.clock)
    return ClusterPlatform(
        settings=settings,
        store=links.store,
        auditor=uses.auditor,
        vms=remote.vms,
        executions=remote.executions,
        snapshots=remote.snapshots,
        images=SharedImageService(images, used.builder, links.store, bring),
        jobs=JobService(
            links.store,
            links.tasks,
            links.bus,
            SharedJobFiles(links.store, objects, read_from),
            links.sealer,
            uses,
            used.clock,
            settings.data_dir / "jobs",
            prepare=_packer(settings, objects),
            uploads=_uploads(settings, objects, used.clock),
        ),
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
        doctor=Doctor(settings, Drivers(used.drivers), images),
        pools=NoPool(),
    )


def _tags_of(store: Store) -> TagsOf:
    async def tags_of(digest: str) -> Sequence[str]:
        return [tag for tag, found in (await store.images.tags()).items() if found == digest]

    return tags_of


def _uploads(settings: Settings, objects: ObjectStore, clock: Clock) -> UploadService:
    return UploadService(objects, clock, settings.data_dir / "scratch", settings.source_mib << 20)


def _packer(settings: Settings, objects: ObjectStore) -> Prepare:
    async def prepare(job_id: str, spec: JobSpec) -> JobSpec:
        if spec.source is None:
            return spec
        scratch = settings.data_dir / "scratch"
        limit = settings.source_mib << 20
        return replace(spec, source=await pack(spec.source, objects, job_id, scratch, limit))

    return prepare


@asynccontextmanager
async def open_cluster_gateway(settings: Settings) -> AsyncIterator[Opened]:
    """A gateway of a cluster, at a Unix socket that only one process has, and at the port of the settings."""
    from aetherium.gateway import tcp
    from aetherium.gateway.server import place, serve_platform

    with (
        place(settings.sockets, settings.socket) as socket,
        tcp.listening(settings, settings.listen or "") as listener,
    ):
        # Nobody else packs sources here; what lies there is of a process that was killed.
        await asyncio.to_thread(shutil.rmtree, settings.data_dir / "scratch", ignore_errors=True)
        async with (
            open_cluster_platform(settings) as platform,
            beside(platform.keys.run(), "keys"),
            serve_platform(platform, socket, grace_s=5.0, tcp=listener),
            grpc(platform),
        ):
            yield Opened(socket, "" if listener is None else listener.url)
