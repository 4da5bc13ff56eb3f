"""Where workers, schedules, projects, images, events and leadership live. See store.py for what all of them
have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from aetherium.domain.events import Event
from aetherium.domain.projects import Project, Quota
from aetherium.domain.schedules import Schedule
from aetherium.domain.workers import Worker, WorkerInfo
from aetherium.interfaces.task_store import LeaderEpoch


class WorkerRepository(Protocol):
    """Workers."""

    async def register(self, info: WorkerInfo, *, lease_s: float) -> Worker:
        """A worker begins, or begins anew: a new incarnation. What an earlier one had claimed has failed with
        ``worker_lost`` (retried as usual), what was placed on it waits for placement again."""
        ...

    async def heartbeat(self, info: WorkerInfo, incarnation: int, *, lease_s: float) -> Worker:
        """Renew the lease. Raises Conflict if this incarnation is over: lost, or registered anew."""
        ...

    async def drain(self, ref: str, *, on: bool) -> Worker: ...

    async def stop(self, worker_id: str, incarnation: int) -> None:
        """It has ended in good order."""
        ...

    async def get(self, worker_id: str) -> Worker: ...

    async def find(self, ref: str) -> Worker:
        """By id, name or prefix of the id."""
        ...

    async def list(self, *, private: bool = False) -> Sequence[Worker]: ...

    async def lose(self) -> Sequence[Worker]:
        """Those whose lease has run out become ``lost``, with what `register` says of their tasks."""
        ...

    async def remove(self, worker_id: str) -> bool:
        """Forget one that is lost or stopped: its VMs' rows fail. Raises Conflict for one that is present."""
        ...


class ScheduleRepository(Protocol):
    """Schedules. A name is unique in its project."""

    async def add(self, schedule: Schedule) -> None: ...

    async def find(self, ref: str) -> Schedule: ...

    async def list(self) -> Sequence[Schedule]: ...

    async def due(self, *, limit: int = 100) -> Sequence[tuple[Schedule, datetime]]:
        """Those whose time has come, and the store's time."""
        ...

    async def advance(self, before: Schedule, after: Schedule) -> bool:
        """Replace the row if `next_at` is still the one of `before`: of two that fire, one gets True."""
        ...

    async def remove(self, schedule_id: str) -> bool: ...


class ProjectRepository(Protocol):
    """Projects; the project ``default`` is always there."""

    async def add(self, project: Project) -> None: ...

    async def find(self, ref: str) -> Project: ...

    async def list(self) -> Sequence[Project]: ...

    async def set_quota(self, project_id: str, quota: Quota) -> Project: ...


class ImageRepository(Protocol):
    """Which digest a tag means, in the whole installation."""

    async def tags(self) -> Mapping[str, str]: ...

    async def record(self, digest: str, tags: Sequence[str], size_bytes: int) -> None:
        """The image is there, under these tags, which are taken from the images that had them."""
        ...

    async def forget(self, digest: str) -> None: ...


class EventRepository(Protocol):
    """The log of events. Repositories write into its outbox in the transaction that makes the fact."""

    async def emit(self, events: Sequence[Event]) -> None:
        """Into the outbox."""
        ...

    async def relay(self, epoch: LeaderEpoch, *, limit: int = 500) -> Sequence[Event]:
        """Move events from the outbox to the log, where they get their `seq`; those that were moved."""
        ...

    async def list(self, *, after: int = 0, limit: int = 500, types: Collection[str] = ()) -> Sequence[Event]:
        """By `seq`; a type that ends in ``*`` stands for all that begin so."""
        ...

    async def last(self) -> int:
        """The newest `seq`."""
        ...

    async def purge(self, keep_s: float, *, limit: int = 5000) -> int: ...


class LeaderRepository(Protocol):
    """Who leads."""

    async def lead(self, name: str, holder: str, *, lease_s: float) -> LeaderEpoch | None:
        """Take or renew the leadership; None while another one has it."""
        ...

    async def resign(self, epoch: LeaderEpoch) -> None: ...
