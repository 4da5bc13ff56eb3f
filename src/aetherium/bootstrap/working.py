"""What makes a host a worker: its identity, its handlers, its membership."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aetherium import __version__
from aetherium.domain.ids import WORKER, is_id, new_id
from aetherium.domain.workers import Capacity, WorkerInfo
from aetherium.interfaces.bus import EventBus
from aetherium.interfaces.handlers import Handler
from aetherium.interfaces.jobs import JobFiles
from aetherium.interfaces.queue import TaskQueue
from aetherium.interfaces.rates import RateLimiter
from aetherium.interfaces.secrets import SecretProvider
from aetherium.interfaces.store import Store
from aetherium.orchestrator.dispatcher import Dispatcher, lane_of
from aetherium.orchestrator.orchestrator import Orchestrator
from aetherium.orchestrator.placement import Strategy
from aetherium.orchestrator.retention import Retention
from aetherium.services.audit.service import AuditService
from aetherium.services.executions import ExecutionService
from aetherium.services.host import Host
from aetherium.services.sealing import Sealer
from aetherium.services.task_types import TaskTypes
from aetherium.services.tasks import TaskService
from aetherium.services.vms import VMService
from aetherium.settings import Settings
from aetherium.worker.background import Tasks
from aetherium.worker.pool import WarmPools
from aetherium.worker.tasks.handlers import handlers
from aetherium.worker.tasks.membership import Membership
from aetherium.worker.tasks.runner import TaskRunner
from aetherium.worker.tasks.work import Work

_LEADER_LEASE_S = 5.0


@dataclass(frozen=True, slots=True)
class Links:
    """What connects the processes of an installation."""

    store: Store
    queue: TaskQueue
    bus: EventBus
    types: TaskTypes
    tasks: TaskService
    sealer: Sealer
    secrets: SecretProvider
    rates: RateLimiter
    audit: AuditService


def worker_id(data_dir: Path) -> str:
    """The id of the worker that uses this data directory, the same after a restart."""
    path = data_dir / "worker"
    try:
        found = path.read_text(encoding="ascii").strip()
        if is_id(found, WORKER):
            return found
    except FileNotFoundError:
        pass
    fresh = path.with_name(f".worker.{os.getpid()}")
    fresh.write_text(new_id(WORKER) + "\n", encoding="ascii")
    fresh.chmod(0o600)
    fresh.rename(path)
    return path.read_text(encoding="ascii").strip()


def make_work(
    host: Host,
    links: Links,
    pools: WarmPools,
    group: Tasks,
    *,
    jobs: Handler,
    vms: VMService,
    executions: ExecutionService,
    private: bool,
    address: Callable[[], str] = lambda: "",
) -> Work:
    """The task side of this host's worker; with `private` it takes only what its own process submits."""
    settings = host.settings
    me = new_id(WORKER) if private else worker_id(settings.data_dir)
    runner = TaskRunner(
        links.store,
        links.queue,
        links.bus,
        links.types,
        handlers(vms, executions, jobs),
        links.sealer,
        worker_id=me,
        most=settings.worker_tasks,
    )
    describe = _describer(host, pools, me, address, private=private)
    membership = Membership(links.store, links.bus, runner, describe, lease_s=settings.lease_s)
    return Work(
        links.store, links.queue, links.tasks, runner, membership, group, worker_id=me, lane=lane_of(me)
    )


def _describer(
    host: Host, pools: WarmPools, me: str, address: Callable[[], str], *, private: bool
) -> Callable[[], Awaitable[WorkerInfo]]:
    settings = host.settings

    async def describe() -> WorkerInfo:
        return WorkerInfo(
            id=me,
            # Whoever finds a private worker later sees by this whether its process lives.
            name=host.owner if private else settings.worker_name or socket.gethostname(),
            address=address(),
            version=__version__,
            capacity=Capacity(settings.worker_tasks, settings.worker_vcpus, settings.worker_memory_mib),
            drivers=tuple(await host.drivers.working()),
            labels=settings.worker_labels,
            images=tuple(image.digest for image in await host.images.list()),
            pooled=pools.waiting(),
            machines=await host.drivers.machines(),
            private=private,
        )

    return describe


async def nothing_to_sweep() -> int:
    """For an installation of one host."""
    return 0


def make_orchestrator(
    settings: Settings,
    links: Links,
    holder: str,
    files: JobFiles,
    sweep: Callable[[], Awaitable[int]] = nothing_to_sweep,
) -> Orchestrator:
    """For one process; of several one leads."""
    dispatcher = Dispatcher(
        links.store,
        links.queue,
        weights=settings.priority_weights,
        strict=settings.strict_priorities,
        strategy=Strategy(settings.placement),
    )

    async def forget_jobs(task_ids: Sequence[str]) -> None:
        for job_id in await links.store.jobs.remove_of(task_ids):
            await files.remove(job_id)

    retention = Retention(
        links.store,
        task_keep_s=settings.task_keep_s,
        event_keep_s=settings.event_keep_s,
        forget_jobs=forget_jobs,
        sweep=sweep,
    )
    return Orchestrator(
        links.store,
        links.bus,
        dispatcher,
        links.tasks,
        retention,
        holder=holder,
        lease_s=min(_LEADER_LEASE_S, settings.lease_s),
        ticket_s=settings.ticket_s,
    )
