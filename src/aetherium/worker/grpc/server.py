"""The server: all calls of worker.proto, health and reflection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from aetherium.images.blobs import AskPeer
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.jobs import JobFiles
from aetherium.protocol.generated import worker_pb2, worker_pb2_grpc
from aetherium.rpc import options
from aetherium.rpc.auth import credentials
from aetherium.rpc.guard import Guard
from aetherium.rpc.listening import UNIX, listen
from aetherium.rpc.tls import Identity
from aetherium.worker.background import tasks
from aetherium.worker.grpc.admission import PEERS, admission
from aetherium.worker.grpc.executions import ExecutionCalls
from aetherium.worker.grpc.files import FileCalls
from aetherium.worker.grpc.images import ImageCalls, no_images
from aetherium.worker.grpc.jobs import JobCalls
from aetherium.worker.grpc.services import Services
from aetherium.worker.grpc.sessions import Sessions
from aetherium.worker.grpc.vms import VMCalls

SERVICE = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"].full_name
# What calls get to finish when the worker goes down; streams resume elsewhere or later.
_GRACE_S = 1.0


class WorkerService(
    VMCalls, ExecutionCalls, FileCalls, JobCalls, ImageCalls, worker_pb2_grpc.WorkerServiceServicer
):
    """The calls of worker.proto over the services of this process."""

    def __init__(
        self, services: Services, job_files: JobFiles, sessions: Sessions, image_parts: AskPeer
    ) -> None:
        VMCalls.__init__(self, services)
        ExecutionCalls.__init__(self, services, sessions)
        FileCalls.__init__(self, services)
        JobCalls.__init__(self, job_files)
        ImageCalls.__init__(self, image_parts)


@asynccontextmanager
async def serve_worker(
    services: Services,
    job_files: JobFiles,
    address: str,
    token: str,
    identity: Identity | None = None,
    *,
    image_parts: AskPeer = no_images,
) -> AsyncIterator[str]:
    """Serve during the block; yields the address that was bound.

    Args:
        job_files: those of this host.
        address: ``unix:<path>`` in a directory of mode 0700, or ``<host>:<port>``, where port 0 takes a free
            one. Without an identity, the host is a loopback address.
        token: the cluster's token, which every call has to bring.
        identity: this worker's certificate; callers then have to show one too, except at a Unix socket.
        image_parts: what other workers may read of this host's images.

    Raises InvalidInput (address, token), Unavailable (the address is taken).
    """
    credentials(token)
    secure = identity is not None and not address.startswith(UNIX)
    async with tasks() as group:
        guard = Guard(admission(token, PEERS if secure else None))
        server = await _server(WorkerService(services, job_files, Sessions(group), image_parts), guard)
        bound = listen(server, address, identity, mutual=True, setting="worker_listen")
        await server.start()
        try:
            yield bound
        finally:
            await finish(_stop(server, guard))


async def _stop(server: aio.Server, guard: Guard) -> None:
    await server.stop(_GRACE_S)
    await guard.quiet()


async def _server(service: WorkerService, guard: Guard) -> aio.Server:
    server = aio.server(interceptors=(guard,), options=options.SERVER)
    worker_pb2_grpc.add_WorkerServiceServicer_to_server(service, server)
    checks = health.aio.HealthServicer()  # type: ignore[attr-defined]  # missing in the stubs
    for name in (SERVICE, ""):  # "": the server as a whole
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return server
