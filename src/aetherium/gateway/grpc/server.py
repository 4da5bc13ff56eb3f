"""The server: all services of aetherium.v1 for users, health and reflection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from aetherium.gateway.access import Services
from aetherium.gateway.grpc.api_keys import KeyCalls
from aetherium.gateway.grpc.audit import AuditCalls
from aetherium.gateway.grpc.callers import Callers
from aetherium.gateway.grpc.calls import Context, PlatformOf, Service
from aetherium.gateway.grpc.events import EventCalls
from aetherium.gateway.grpc.executions import ExecutionCalls
from aetherium.gateway.grpc.files import FileCalls
from aetherium.gateway.grpc.images import ImageCalls
from aetherium.gateway.grpc.installation import InstallationCalls
from aetherium.gateway.grpc.jobs import JobCalls
from aetherium.gateway.grpc.members import MemberCalls
from aetherium.gateway.grpc.projects import ProjectCalls
from aetherium.gateway.grpc.queues import QueueCalls
from aetherium.gateway.grpc.schedules import ScheduleCalls
from aetherium.gateway.grpc.secrets import SecretCalls
from aetherium.gateway.grpc.snapshots import SnapshotCalls
from aetherium.gateway.grpc.tasks import TaskCalls
from aetherium.gateway.grpc.uploads import UploadCalls
from aetherium.gateway.grpc.vms import VMCalls
from aetherium.gateway.grpc.workers import WorkerCalls
from aetherium.interfaces.finishing import finish
from aetherium.protocol.generated import (
    api_keys_pb2_grpc,
    audit_pb2_grpc,
    events_pb2_grpc,
    executions_pb2_grpc,
    files_pb2_grpc,
    images_pb2_grpc,
    installation_pb2_grpc,
    jobs_pb2_grpc,
    members_pb2_grpc,
    projects_pb2_grpc,
    queues_pb2_grpc,
    schedules_pb2_grpc,
    secrets_pb2_grpc,
    snapshots_pb2_grpc,
    tasks_pb2_grpc,
    uploads_pb2_grpc,
    vms_pb2_grpc,
    workers_pb2_grpc,
)
from aetherium.rpc import options
from aetherium.rpc.guard import Guard
from aetherium.rpc.listening import listen
from aetherium.rpc.tls import Identity, server_identity

_PACKAGE = "aetherium.v1"
# What calls get to finish when the gateway goes down; streams resume elsewhere or later.
_GRACE_S = 1.0

# In the order of the documentation.
_SERVICES: tuple[tuple[str, type[Service], Callable[..., None]], ...] = (
    ("VMService", VMCalls, vms_pb2_grpc.add_VMServiceServicer_to_server),
    ("ExecutionService", ExecutionCalls, executions_pb2_grpc.add_ExecutionServiceServicer_to_server),
    ("FileService", FileCalls, files_pb2_grpc.add_FileServiceServicer_to_server),
    ("SnapshotService", SnapshotCalls, snapshots_pb2_grpc.add_SnapshotServiceServicer_to_server),
    ("ImageService", ImageCalls, images_pb2_grpc.add_ImageServiceServicer_to_server),
    ("JobService", JobCalls, jobs_pb2_grpc.add_JobServiceServicer_to_server),
    ("UploadService", UploadCalls, uploads_pb2_grpc.add_UploadServiceServicer_to_server),
    ("TaskService", TaskCalls, tasks_pb2_grpc.add_TaskServiceServicer_to_server),
    ("ScheduleService", ScheduleCalls, schedules_pb2_grpc.add_ScheduleServiceServicer_to_server),
    ("QueueService", QueueCalls, queues_pb2_grpc.add_QueueServiceServicer_to_server),
    ("WorkersService", WorkerCalls, workers_pb2_grpc.add_WorkersServiceServicer_to_server),
    ("ProjectService", ProjectCalls, projects_pb2_grpc.add_ProjectServiceServicer_to_server),
    ("MemberService", MemberCalls, members_pb2_grpc.add_MemberServiceServicer_to_server),
    ("KeyService", KeyCalls, api_keys_pb2_grpc.add_KeyServiceServicer_to_server),
    ("SecretService", SecretCalls, secrets_pb2_grpc.add_SecretServiceServicer_to_server),
    ("AuditService", AuditCalls, audit_pb2_grpc.add_AuditServiceServicer_to_server),
    ("EventService", EventCalls, events_pb2_grpc.add_EventServiceServicer_to_server),
    (
        "InstallationService",
        InstallationCalls,
        installation_pb2_grpc.add_InstallationServiceServicer_to_server,
    ),
)
SERVICES = tuple(f"{_PACKAGE}.{name}" for name, _, _ in _SERVICES)


@asynccontextmanager
async def serve_grpc(
    platform_of: PlatformOf, address: str, identity: Identity | None = None, *, calls: int | None = None
) -> AsyncIterator[str]:
    """Serve during the block; yields the address that was bound.

    Args:
        platform_of: who calls, and what they may do.
        address: see `listen`.
        identity: this gateway's certificate; callers are not asked for one.
        calls: more at once are refused.

    Raises InvalidInput (the address), Unavailable (it is taken).
    """
    guard = Guard(_everybody)
    server = aio.server(interceptors=(guard,), options=options.SERVER, maximum_concurrent_rpcs=calls)
    for _, kind, add in _SERVICES:
        add(kind(platform_of), server)
    await _add_health(server)
    bound = listen(server, address, identity, mutual=False, setting="grpc_listen")
    await server.start()
    try:
        yield bound
    finally:
        await finish(_stop(server, guard))


@asynccontextmanager
async def serve_configured(services: Services) -> AsyncIterator[str]:
    """Serve at the setting `grpc_listen` during the block; yields the address, empty if there is none.

    Raises what `serve_grpc` raises, and InvalidInput for files of TLS that cannot be used.
    """
    settings = services.settings
    if not settings.grpc_listen:
        yield ""
        return
    async with serve_grpc(
        Callers(services),
        settings.grpc_listen,
        server_identity(settings),
        calls=settings.max_connections,
    ) as bound:
        yield bound


async def _everybody(_: Context) -> None:
    """Who calls is asked by each call, for its project."""


async def _add_health(server: Any) -> None:
    checks = health.aio.HealthServicer()  # type: ignore[attr-defined]  # missing in the stubs
    for name in (*SERVICES, ""):  # "": the server as a whole
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)


async def _stop(server: aio.Server, guard: Guard) -> None:
    await server.stop(_GRACE_S)
    await guard.quiet()
