"""What the gateway stands on: the services, as `bootstrap.Platform` brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from aetherium.gateway.streams import Drain

if TYPE_CHECKING:
    from aetherium.gateway.remote.executions import RemoteExecutions
    from aetherium.gateway.remote.snapshots import RemoteSnapshots
    from aetherium.gateway.remote.vms import RemoteVMs
    from aetherium.interfaces.pool import VMPool
    from aetherium.services.doctor import Doctor
    from aetherium.services.events import EventService
    from aetherium.services.executions import ExecutionService
    from aetherium.services.images import ImageService
    from aetherium.services.jobs import JobService
    from aetherium.services.projects import ProjectService
    from aetherium.services.queues import QueueService
    from aetherium.services.schedules import ScheduleService
    from aetherium.services.shared_images import SharedImageService
    from aetherium.services.snapshots import SnapshotService
    from aetherium.services.tasks import TaskService
    from aetherium.services.vms import VMService
    from aetherium.services.workers import WorkerService


class Platform(Protocol):
    """The services of one process."""

    @property
    def vms(self) -> VMService | RemoteVMs: ...
    @property
    def executions(self) -> ExecutionService | RemoteExecutions: ...
    @property
    def snapshots(self) -> SnapshotService | RemoteSnapshots: ...
    @property
    def images(self) -> ImageService | SharedImageService: ...
    @property
    def jobs(self) -> JobService: ...
    @property
    def tasks(self) -> TaskService: ...
    @property
    def schedules(self) -> ScheduleService: ...
    @property
    def queues(self) -> QueueService: ...
    @property
    def workers(self) -> WorkerService: ...
    @property
    def projects(self) -> ProjectService: ...
    @property
    def events(self) -> EventService: ...
    @property
    def doctor(self) -> Doctor: ...
    @property
    def pools(self) -> VMPool: ...


def _platform(connection: HTTPConnection) -> Platform:
    return cast(Platform, connection.app.state.platform)


def _drain(connection: HTTPConnection) -> Drain:
    return cast(Drain, connection.app.state.drain)


PlatformDep = Annotated[Platform, Depends(_platform)]
DrainDep = Annotated[Drain, Depends(_drain)]
