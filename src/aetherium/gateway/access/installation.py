"""What belongs to the installation: projects, images, workers, queues, events, the host."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from aetherium.domain.checks import Check
from aetherium.domain.events import Event
from aetherium.domain.ids import PROJECT, akin
from aetherium.domain.images import Image, ImageRecipe
from aetherium.domain.projects import Project, Quota
from aetherium.domain.queues import Queue
from aetherium.domain.tasks import Priority, TypeLimit
from aetherium.domain.workers import WorkerStatus
from aetherium.gateway.access.access import Access
from aetherium.gateway.access.rules import guards, opens
from aetherium.interfaces.images import Progress, no_progress
from aetherium.interfaces.pool import PoolLevel, VMPool

if TYPE_CHECKING:
    from aetherium.services.doctor import Doctor
    from aetherium.services.events import EventService
    from aetherium.services.images import ImageService
    from aetherium.services.projects import ProjectService
    from aetherium.services.queues import QueueService
    from aetherium.services.shared_images import SharedImageService
    from aetherium.services.workers import WorkerService


class Projects:
    """See ProjectService. Who is in a project sees that one."""

    def __init__(self, access: Access, inner: ProjectService) -> None:
        self._access = access
        self._inner = inner

    @guards("projects:read")
    async def list(self) -> Sequence[Project]:
        return await self._access.store.projects.list()

    @guards("projects:read")
    async def get(self, ref: str) -> Project:
        return await self._access.store.projects.find(ref)

    @guards("projects:read")
    async def id_of(self, ref: str) -> str:
        """Empty: the caller's own."""
        return await self._access.choose(ref)

    @guards("projects:write", "project.create")
    async def create(self, name: str, *, quota: Quota | None = None, mark: str = "") -> Project:
        """Of a request with a `mark` (see Begun), the project that it has made already."""
        return await self._inner.create(name, quota=quota, project_id=akin(PROJECT, mark))

    @guards("projects:write", "project.set_quota")
    async def set_quota(self, ref: str, quota: Quota) -> Project:
        return await self._inner.set_quota(ref, quota)


class Images:
    """See ImageService. All may boot all images."""

    def __init__(self, access: Access, inner: ImageService | SharedImageService) -> None:
        self._access = access
        self._inner = inner

    @guards("images:write", "image.build")
    async def build(
        self, recipe: ImageRecipe | None = None, *, cache: bool = True, progress: Progress = no_progress
    ) -> Image:
        return await self._inner.build(recipe, cache=cache, progress=progress)

    @guards("images:write", "image.import")
    async def import_image(
        self, source: str, *, tag: str | None = None, progress: Progress = no_progress
    ) -> Image:
        return await self._inner.import_image(source, tag=tag, progress=progress)

    @guards("images:write", "image.refresh")
    async def refresh(self, *, progress: Progress = no_progress) -> Sequence[Image]:
        return await self._inner.refresh(progress=progress)

    @guards("images:read")
    async def list(self) -> Sequence[Image]:
        return await self._inner.list()

    @guards("images:read")
    async def get(self, ref: str) -> Image:
        return await self._inner.get(ref)

    @guards("images:write", "image.tag")
    async def tag(self, ref: str, tag: str) -> Image:
        return await self._inner.tag(ref, tag)

    @guards("images:write", "image.remove")
    async def remove(self, ref: str) -> int:
        return await self._inner.remove(ref)

    @guards("images:write", "image.prune")
    async def prune(self, *, tagged: bool = False) -> int:
        return await self._inner.prune(tagged=tagged)


class Workers:
    """See WorkerService."""

    def __init__(self, access: Access, inner: WorkerService) -> None:
        self._access = access
        self._inner = inner

    @guards("workers:read")
    async def list(self) -> Sequence[WorkerStatus]:
        return await self._inner.list()

    @guards("workers:read")
    async def get(self, ref: str) -> WorkerStatus:
        return await self._inner.get(ref)

    @guards("workers:write", "worker.drain")
    async def drain(self, ref: str) -> WorkerStatus:
        return await self._inner.drain(ref)

    @guards("workers:write", "worker.activate")
    async def activate(self, ref: str) -> WorkerStatus:
        return await self._inner.activate(ref)

    @guards("workers:write", "worker.remove")
    async def remove(self, ref: str) -> None:
        await self._inner.remove(ref)


class Queues:
    """See QueueService."""

    def __init__(self, access: Access, inner: QueueService) -> None:
        self._access = access
        self._inner = inner

    @guards("queues:read")
    async def list(self) -> Sequence[Queue]:
        return await self._inner.list()

    @guards("queues:read")
    async def get(self, priority: Priority) -> Queue:
        return await self._inner.get(priority)

    @guards("queues:write", "queue.pause")
    async def pause(self, priority: Priority) -> Queue:
        return await self._inner.pause(priority)

    @guards("queues:write", "queue.resume")
    async def resume(self, priority: Priority) -> Queue:
        return await self._inner.resume(priority)

    @guards("queues:read")
    async def limits(self) -> Mapping[str, TypeLimit]:
        return await self._inner.limits()

    @guards("queues:write", "queue.limit")
    async def limit(self, task_type: str, limit: TypeLimit) -> None:
        await self._inner.limit(task_type, limit)

    @guards("queues:write", "queue.unlimit")
    async def unlimit(self, task_type: str) -> None:
        await self._inner.unlimit(task_type)


class Events:
    """See EventService. Who is in a project hears of that one."""

    def __init__(self, access: Access, inner: EventService) -> None:
        one = access.caller.project_id
        self._access = access
        self._inner = inner if one is None else inner.of_project(one)

    @guards("events:read")
    async def list(self, *, after: int = 0, limit: int = 500, types: Collection[str] = ()) -> Sequence[Event]:
        return await self._inner.list(after=after, limit=limit, types=types)

    @guards("events:read")
    async def last(self) -> int:
        return await self._inner.last()

    @guards("events:read")
    async def before_newest(self, count: int, *, types: Collection[str] = ()) -> int:
        return await self._inner.before_newest(count, types=types)

    @opens("events:read")
    def read(
        self, *, after: int = 0, types: Collection[str] = ()
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return self._inner.read(after=after, types=types)

    @opens("events:read")
    def follow(
        self, *, after: int = 0, types: Collection[str] = ()
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return self._inner.follow(after=after, types=types)


class Cluster:
    """The gateway's own host."""

    def __init__(self, access: Access, doctor: Doctor, pools: VMPool) -> None:
        self._access = access
        self._doctor = doctor
        self._pools = pools

    @guards("cluster:read")
    async def examine(self) -> Sequence[Check]:
        """See Doctor."""
        return await self._doctor.examine()

    @guards("cluster:read")
    async def level(self) -> PoolLevel:
        """See VMPool."""
        return self._pools.level()
