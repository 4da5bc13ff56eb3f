"""All services of one caller."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from aetherium.domain.identity import ALL, Caller, WhoAmI
from aetherium.gateway.access.access import Access, Known
from aetherium.gateway.access.audit import Audit
from aetherium.gateway.access.executions import Executions
from aetherium.gateway.access.identity import Keys, Members
from aetherium.gateway.access.installation import Cluster, Events, Images, Projects, Queues, Workers
from aetherium.gateway.access.jobs import Jobs
from aetherium.gateway.access.secrets import Secrets
from aetherium.gateway.access.tasks import Schedules, Tasks
from aetherium.gateway.access.uploads import Uploads
from aetherium.gateway.access.vms import Snapshots, VMs
from aetherium.interfaces.audit import Auditor

if TYPE_CHECKING:
    from aetherium.gateway.remote.executions import RemoteExecutions
    from aetherium.gateway.remote.snapshots import RemoteSnapshots
    from aetherium.gateway.remote.vms import RemoteVMs
    from aetherium.interfaces.pool import VMPool
    from aetherium.interfaces.rates import RateLimiter
    from aetherium.interfaces.store import Store
    from aetherium.services.audit.service import AuditService
    from aetherium.services.doctor import Doctor
    from aetherium.services.events import EventService
    from aetherium.services.executions import ExecutionService
    from aetherium.services.identity.authentication import Authenticator
    from aetherium.services.identity.keys import KeyService
    from aetherium.services.identity.members import MemberService
    from aetherium.services.images import ImageService
    from aetherium.services.jobs import JobService
    from aetherium.services.projects import ProjectService
    from aetherium.services.queues import QueueService
    from aetherium.services.schedules import ScheduleService
    from aetherium.services.secrets.service import SecretService
    from aetherium.services.shared_images import SharedImageService
    from aetherium.services.snapshots import SnapshotService
    from aetherium.services.tasks import TaskService
    from aetherium.services.vms import VMService
    from aetherium.services.workers import WorkerService
    from aetherium.settings import Settings


class Services(Protocol):
    """The services of one process, which do whatever they are asked; `bootstrap` brings them."""

    @property
    def store(self) -> Store: ...
    @property
    def auditor(self) -> Auditor: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def authenticator(self) -> Authenticator: ...
    @property
    def rates(self) -> RateLimiter: ...
    @property
    def keys(self) -> KeyService: ...
    @property
    def members(self) -> MemberService: ...
    @property
    def secrets(self) -> SecretService: ...
    @property
    def audit(self) -> AuditService: ...
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


class Platform:
    """The services as `caller` has them; made for each request.

    Args:
        known: shared by all requests.
    """

    def __init__(self, services: Services, caller: Caller, known: Known) -> None:
        self._services = services
        self._access = Access(caller, services.store, services.auditor, known)
        self.caller = caller

    async def whoami(self) -> WhoAmI:
        """Who calls, in which project, and what they may do. Everybody may ask that."""
        caller, project = self.caller, None
        if caller.project_id is not None:
            project = (await self._services.store.projects.find(caller.project_id)).name
        return WhoAmI(
            caller.subject,
            caller.role,
            caller.installation,
            caller.project_id,
            project,
            tuple(sorted(permission for permission in ALL if caller.may(permission))),
        )

    @cached_property
    def vms(self) -> VMs:
        return VMs(self._access, self._services.vms)

    @cached_property
    def executions(self) -> Executions:
        return Executions(self._access, self._services.executions)

    @cached_property
    def snapshots(self) -> Snapshots:
        return Snapshots(self._access, self._services.snapshots)

    @cached_property
    def images(self) -> Images:
        return Images(self._access, self._services.images)

    @cached_property
    def jobs(self) -> Jobs:
        return Jobs(self._access, self._services.jobs)

    @cached_property
    def uploads(self) -> Uploads:
        return Uploads(self._access, self._services.jobs.uploads)

    @cached_property
    def tasks(self) -> Tasks:
        return Tasks(self._access, self._services.tasks)

    @cached_property
    def schedules(self) -> Schedules:
        return Schedules(self._access, self._services.schedules)

    @cached_property
    def queues(self) -> Queues:
        return Queues(self._access, self._services.queues)

    @cached_property
    def workers(self) -> Workers:
        return Workers(self._access, self._services.workers)

    @cached_property
    def projects(self) -> Projects:
        return Projects(self._access, self._services.projects)

    @cached_property
    def keys(self) -> Keys:
        return Keys(self._access, self._services.keys)

    @cached_property
    def members(self) -> Members:
        return Members(self._access, self._services.members)

    @cached_property
    def secrets(self) -> Secrets:
        return Secrets(self._access, self._services.secrets)

    @cached_property
    def audit(self) -> Audit:
        return Audit(self._access, self._services.audit)

    @cached_property
    def events(self) -> Events:
        return Events(self._access, self._services.events)

    @cached_property
    def cluster(self) -> Cluster:
        return Cluster(self._access, self._services.doctor, self._services.pools)
