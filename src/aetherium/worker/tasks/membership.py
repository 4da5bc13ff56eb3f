"""A worker among the others: registration, heartbeats, and giving everything up when its lease is over."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from aetherium.domain.errors import AetheriumError, Conflict
from aetherium.domain.workers import Worker, WorkerInfo
from aetherium.interfaces.bus import EventBus
from aetherium.interfaces.store import Store
from aetherium.services.tasks import worker_topic
from aetherium.worker.tasks.runner import TaskRunner

log = logging.getLogger(__name__)

_RETRY_S = 0.5


class Membership:
    """One process's.

    The lease is measured twice: by the database, for the others; and here by this host's monotonic clock from
    before each heartbeat was sent, so that this worker believes itself dead no later than the others do,
    whatever the hosts' clocks say.

    Args:
        describe: what the worker is and has now.
    """

    def __init__(
        self,
        store: Store,
        bus: EventBus,
        runner: TaskRunner,
        describe: Callable[[], Awaitable[WorkerInfo]],
        *,
        lease_s: float,
    ) -> None:
        self._store = store
        self._bus = bus
        self._runner = runner
        self._describe = describe
        self._lease_s = lease_s
        self._worker: Worker | None = None
        self._renewed = 0.0
        self._over = False

    @property
    def worker(self) -> Worker | None:
        """As it was at the last heartbeat; None before the first registration."""
        return self._worker

    async def register(self) -> None:
        """Be a worker from now on. Raises Unavailable."""
        begin = time.monotonic()
        self._worker = await self._store.workers.register(await self._describe(), lease_s=self._lease_s)
        self._renewed, self._over = begin, False
        self._runner.registered(self._worker.incarnation)
        log.info("Registered as %s (%s).", self._worker.info.name, self._worker.id)

    async def run(self) -> None:
        """Heartbeats, and orders from the bus, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="orders")
            group.create_task(self._watch(), name="lease")
            while True:
                await asyncio.sleep(self._lease_s / 4)
                await self._beat()

    async def leave(self) -> None:
        """End in good order, after the last task."""
        if self._worker is None:
            return
        try:
            async with asyncio.timeout(3.0):
                await self._store.workers.stop(self._worker.id, self._worker.incarnation)
        except (AetheriumError, TimeoutError) as error:
            log.warning("The others will notice by themselves that this worker has ended: %s", error)

    async def _beat(self) -> None:
        worker = self._worker
        if worker is None:
            return
        begin = time.monotonic()
        try:
            info = await self._describe()
            self._worker = await self._store.workers.heartbeat(
                info, worker.incarnation, lease_s=self._lease_s
            )
            self._renewed = begin
            held = await self._store.tasks.held(worker.id)
            await self._runner.give_up(self._runner.compare(held, time.monotonic()))
        except Conflict as error:
            log.warning("%s All that runs here is given up.", error)
            self._runner.lose()
            await self._again()
        except AetheriumError as error:
            log.warning("The heartbeat failed: %s", error)

    async def _again(self) -> None:
        try:
            await self.register()
        except AetheriumError as error:
            log.warning("Registering anew failed: %s", error)

    async def _watch(self) -> None:
        """End what runs when the lease has run out unrenewed: another worker may be given it from then on."""
        while True:
            left = self._renewed + self._lease_s - time.monotonic()
            if left <= 0 and not self._over and self._worker is not None:
                log.warning("The lease has run out: all that runs here is given up.")
                self._over = True
                self._runner.lose()
            await asyncio.sleep(max(left, _RETRY_S))

    async def _listen(self) -> None:
        worker = self._worker
        if worker is None:
            return
        async with self._bus.listen([worker_topic(worker.id)]) as orders:
            async for _, task_id in orders:
                if task_id:
                    self._runner.cancel(task_id)
                else:  # something may have been missed
                    await self._beat()
