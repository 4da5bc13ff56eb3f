"""The loops of an orchestrator. One leads (a lease with an epoch); the others wait to take over."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from aetherium.domain.errors import AetheriumError, Conflict
from aetherium.interfaces.bus import EventBus
from aetherium.interfaces.store import Store
from aetherium.interfaces.task_store import LeaderEpoch
from aetherium.orchestrator.dispatcher import Dispatcher
from aetherium.orchestrator.retention import Retention
from aetherium.orchestrator.schedules import ScheduleRunner
from aetherium.services.events import EVENTS
from aetherium.services.tasks import DISPATCH, SETTINGS, TaskService

log = logging.getLogger(__name__)

LEADERSHIP = "orchestrator"
# Without a hint the leader looks this often, in seconds; hints may be lost.
LOOK_S = 0.5
# Time's work: due tasks, deadlines, lost workers, lost tickets.
CARE_S = 0.5
RETENTION_S = 30.0


class Orchestrator:
    """See the module's docstring.

    Args:
        holder: names this process.
        lease_s: of the leadership; when a leader stops, another one leads after that long at the latest.
        ticket_s: how long a placed task may stay unclaimed before its ticket is sent again.
    """

    def __init__(
        self,
        store: Store,
        bus: EventBus,
        dispatcher: Dispatcher,
        tasks: TaskService,
        retention: Retention,
        *,
        holder: str,
        lease_s: float,
        ticket_s: float,
    ) -> None:
        self._store = store
        self._bus = bus
        self._dispatcher = dispatcher
        self._tasks = tasks
        self._schedules = ScheduleRunner(store, tasks)
        self._retention = retention
        self._holder = holder
        self._lease_s = lease_s
        self._ticket_s = ticket_s
        self._wake = asyncio.Event()

    @property
    def holder(self) -> str:
        """The name of this process."""
        return self._holder

    @property
    def wake(self) -> asyncio.Event:
        """Set it to make a leader in this process look at once."""
        return self._wake

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="orchestrator hints")
            while True:
                epoch = await self._elected()
                log.info("This orchestrator leads (epoch %d).", epoch.number)
                self._dispatcher.forget()
                try:
                    await self._lead(epoch)
                finally:
                    await asyncio.shield(self._resign(epoch))

    async def _listen(self) -> None:
        async with self._bus.listen([DISPATCH]) as hints:
            async for _, message in hints:
                if message == SETTINGS:
                    self._dispatcher.forget()
                self._wake.set()

    async def _elected(self) -> LeaderEpoch:
        while True:
            try:
                epoch = await self._store.leaders.lead(LEADERSHIP, self._holder, lease_s=self._lease_s)
                if epoch is not None:
                    return epoch
            except AetheriumError as error:
                log.warning("It is not known who leads: %s", error)
            await asyncio.sleep(min(1.0, self._lease_s / 4))

    async def _resign(self, epoch: LeaderEpoch) -> None:
        try:
            async with asyncio.timeout(2.0):
                await self._store.leaders.resign(epoch)
        except (AetheriumError, TimeoutError) as error:
            log.info("The leadership ends by its lease: %s", error)

    async def _lead(self, epoch: LeaderEpoch) -> None:
        """Until the leadership is lost."""
        work = [
            self._again("dispatch", self._dispatching(epoch)),
            self._again("care", self._caring()),
            self._again("events", self._relaying(epoch)),
            self._again("retention", self._retaining()),
        ]
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            await self._renewing(epoch, tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _renewing(self, epoch: LeaderEpoch, tasks: list[asyncio.Task[None]]) -> None:
        renewed = time.monotonic()
        while time.monotonic() - renewed < self._lease_s:
            done, _ = await asyncio.wait(
                tasks, timeout=self._lease_s / 4, return_when=asyncio.FIRST_COMPLETED
            )
            if done:
                log.warning("This orchestrator leads no longer.")
                return
            begin = time.monotonic()
            try:
                again = await self._store.leaders.lead(LEADERSHIP, self._holder, lease_s=self._lease_s)
            except AetheriumError as error:
                log.warning("The leadership cannot be renewed now: %s", error)
                continue
            if again is None or again.number != epoch.number:
                log.warning("Another orchestrator leads now.")
                return
            renewed = begin
        log.warning("The leadership has run out.")

    async def _again(self, name: str, step: Callable[[], Awaitable[None]]) -> None:
        """A loop that survives what passes; it ends when the leadership is over."""
        while True:
            try:
                await step()
            except Conflict:
                return
            except AetheriumError as error:
                log.warning("%s cannot go on now: %s", name.capitalize(), error)
                await asyncio.sleep(LOOK_S)
            except Exception:  # the boundary of a loop: a defect in one must not end the others
                log.exception("The loop %r failed and begins again.", name)
                await asyncio.sleep(LOOK_S)

    def _dispatching(self, epoch: LeaderEpoch) -> Callable[[], Awaitable[None]]:
        async def step() -> None:
            self._wake.clear()
            while await self._dispatcher.dispatch(epoch):
                continue
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                return

        return step

    def _caring(self) -> Callable[[], Awaitable[None]]:
        async def step() -> None:
            store = self._store
            lost = await store.workers.lose()
            for worker in lost:
                log.warning("The worker %s (%s) is lost: no heartbeat in time.", worker.info.name, worker.id)
            due = await store.tasks.release_due()
            overdue = await store.tasks.end_overdue()
            await self._tasks.tell(overdue)
            fired = await self._schedules.fire()
            sent = await self._dispatcher.resend(self._ticket_s)
            if lost or due or overdue or fired or sent:
                self._dispatcher.forget()
                self._wake.set()
            await asyncio.sleep(CARE_S)

        return step

    def _relaying(self, epoch: LeaderEpoch) -> Callable[[], Awaitable[None]]:
        async def step() -> None:
            moved = await self._store.events.relay(epoch)
            if moved:
                await self._bus.publish(EVENTS, str(moved[-1].seq))
            else:
                await asyncio.sleep(LOOK_S)

        return step

    def _retaining(self) -> Callable[[], Awaitable[None]]:
        async def step() -> None:
            await self._retention.purge()
            await asyncio.sleep(RETENTION_S)

        return step
