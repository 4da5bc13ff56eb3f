"""Workers as operators see them: what they are doing, draining, forgetting."""

from __future__ import annotations

from collections.abc import Sequence

from aetherium.domain.errors import NotFound
from aetherium.domain.workers import Usage, Worker, WorkerStatus
from aetherium.interfaces.bus import EventBus
from aetherium.interfaces.store import Store
from aetherium.services.tasks import DISPATCH, SETTINGS


class WorkerService:
    """See the methods. `ref` is an id, a name, or a unique prefix of an id."""

    def __init__(self, store: Store, bus: EventBus) -> None:
        self._store = store
        self._bus = bus

    async def list(self) -> Sequence[WorkerStatus]:
        """By name; those that belong to a single command are left out."""
        load = await self._store.tasks.load()
        return [
            WorkerStatus(worker, load.workers.get(worker.id, Usage()))
            for worker in await self._store.workers.list()
        ]

    async def get(self, ref: str) -> WorkerStatus:
        """Raises NotFound."""
        return await self._status(await self._store.workers.find(ref))

    async def drain(self, ref: str) -> WorkerStatus:
        """It is given nothing new, and finishes what it has; also after it was started again."""
        return await self._drain(ref, on=True)

    async def activate(self, ref: str) -> WorkerStatus:
        """The opposite of `drain`."""
        return await self._drain(ref, on=False)

    async def _drain(self, ref: str, *, on: bool) -> WorkerStatus:
        worker = await self._store.workers.drain(ref, on=on)
        await self._bus.publish(DISPATCH, SETTINGS)
        return await self._status(worker)

    async def remove(self, ref: str) -> None:
        """Forget one that is lost or stopped; its VMs have failed. Raises Conflict for one present."""
        worker = await self._store.workers.find(ref)
        if not await self._store.workers.remove(worker.id):
            raise NotFound("worker", ref)
        await self._bus.publish(DISPATCH, SETTINGS)

    async def _status(self, worker: Worker) -> WorkerStatus:
        load = await self._store.tasks.load()
        return WorkerStatus(worker, load.workers.get(worker.id, Usage()))
