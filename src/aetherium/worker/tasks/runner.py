"""Receives tickets, claims the tasks, and runs their handlers, at most so many at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from aetherium.domain.errors import AetheriumError, NotFound
from aetherium.domain.tasks import Task, TaskState
from aetherium.interfaces.bus import EventBus
from aetherium.interfaces.handlers import Handler
from aetherium.interfaces.queue import Consumer, Delivery, TaskQueue
from aetherium.interfaces.store import Store
from aetherium.interfaces.task_store import Outcome
from aetherium.services.sealing import Sealer
from aetherium.services.task_types import TaskTypes
from aetherium.worker.tasks.attempt import Cut, RunningAttempt, failed
from aetherium.worker.tasks.ends import Ends

log = logging.getLogger(__name__)

_RETRY_S = 0.5
# A claim that this process does not know of is given up when it was seen twice this far apart: the answer to
# it may just be on its way.
STRAY_S = 5.0


class TaskRunner:
    """The tasks of one worker.

    Args:
        handlers: by type.
        most: tasks at once.
    """

    def __init__(
        self,
        store: Store,
        queue: TaskQueue,
        bus: EventBus,
        types: TaskTypes,
        handlers: Mapping[str, Handler],
        sealer: Sealer,
        *,
        worker_id: str,
        most: int,
    ) -> None:
        self._store = store
        self._queue = queue
        self._types = types
        self._handlers = handlers
        self._sealer = sealer
        self._worker_id = worker_id
        self._most = most
        self._ends = Ends(store.tasks, bus)
        self._running: dict[tuple[str, int], RunningAttempt] = {}
        self._ending: set[tuple[str, int]] = set()
        self._incarnation = 0
        self._room = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._strays: dict[tuple[str, int], float] = {}

    @property
    def running(self) -> int:
        """How many tasks run."""
        return len(self._running)

    async def run(self, lane: str) -> None:
        """Until cancelled; then what runs is handed back. Call `registered` before."""
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self._ends.run(), name="ends")
            try:
                async with asyncio.TaskGroup() as attempts, self._queue.consume(lane) as consumer:
                    await self._receive(consumer, attempts)
            finally:
                writer.cancel()

    def registered(self, incarnation: int) -> None:
        """The worker has a new incarnation: what it ran before is not its any more."""
        if incarnation != self._incarnation:
            self.lose()
        self._incarnation = incarnation

    def lose(self) -> None:
        """The lease is over: everything ends, and nothing is recorded."""
        for attempt in tuple(self._running.values()):
            attempt.cut(Cut.LOST)

    def cancel(self, task_id: str) -> None:
        """A task is being cancelled."""
        for (running, _), attempt in tuple(self._running.items()):
            if running == task_id:
                attempt.cut(Cut.CANCELLED)

    async def drain(self, grace_s: float) -> None:
        """Take nothing more; finish what runs, and after `grace_s` seconds hand back what has not ended."""
        self._draining = True
        self._room.set()
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            log.info("%d tasks are handed back.", len(self._running))
            for attempt in tuple(self._running.values()):
                attempt.cut(Cut.HANDED_BACK)
            await self._idle.wait()

    def compare(self, held: Sequence[tuple[str, int, TaskState]], now: float) -> list[Outcome]:
        """Hold what the rows say against what runs: cancellations that were missed, attempts that are
        somebody else's by now, and claims that this process does not know of. The ends of the last are to be
        recorded."""
        rows = {(task_id, attempt): state for task_id, attempt, state in held}
        for key, running in tuple(self._running.items()):
            if key not in rows:
                # Claimed after the rows were read, or taken away; only the second stays so.
                if self._strays.setdefault(key, now) + STRAY_S <= now:
                    running.cut(Cut.LOST)
            elif rows.get(key) is TaskState.CANCELLING:
                running.cut(Cut.CANCELLED)
        unknown = [key for key in rows if key not in self._running and key not in self._ending]
        lost = [key for key in unknown if self._strays.get(key, now) + STRAY_S <= now]
        suspects = {*unknown, *(key for key in self._running if key not in rows)} - set(lost)
        self._strays = {key: self._strays.get(key, now) for key in suspects}
        return [
            Outcome(
                task_id,
                attempt,
                TaskState.SCHEDULED,
                error_code="worker_lost",
                error="The answer to its claim was lost.",
            )
            for task_id, attempt in lost
        ]

    async def give_up(self, outcomes: Sequence[Outcome]) -> None:
        """Record the ends of claims that nobody carries out."""
        await asyncio.gather(*(self._ends.record(each) for each in outcomes))

    async def _receive(self, consumer: Consumer, attempts: asyncio.TaskGroup) -> None:
        while not self._stopped():
            free = self._most - len(self._running)
            if free <= 0:
                self._room.clear()
                await self._room.wait()
                continue
            deliveries = await consumer.receive(free)
            if self._stopped():
                await consumer.release(deliveries)
                return
            await self._begin(consumer, deliveries, attempts)

    def _stopped(self) -> bool:
        return self._draining

    async def _begin(
        self, consumer: Consumer, deliveries: Sequence[Delivery], attempts: asyncio.TaskGroup
    ) -> None:
        claims = [(each.ticket.task_id, each.ticket.attempt) for each in deliveries]
        try:
            claimed = await self._store.tasks.claim(claims, self._worker_id, self._incarnation)
        except AetheriumError as error:
            log.warning("%d tickets cannot be followed now: %s", len(claims), error)
            await consumer.release(deliveries)
            await asyncio.sleep(_RETRY_S)
            return
        for task in claimed:
            self._start(task, attempts)
        await consumer.ack(deliveries)

    def _start(self, task: Task, attempts: asyncio.TaskGroup) -> None:
        key = (task.id, task.attempt)
        try:
            payload = self._types.payload(task.spec.type, task.spec.payload)
            handler = self._handler(task)
        except AetheriumError as error:
            self._idle.clear()
            self._ending.add(key)
            attempts.create_task(self._end(key, failed(task, error)), name=task.id)
            return

        async def secrets() -> Mapping[str, str]:
            return self._sealer.open(await self._store.tasks.sealed(task.id), task.id)

        attempt = RunningAttempt(task, payload, secrets)
        self._running[key] = attempt
        self._idle.clear()
        attempts.create_task(self._carry_out(key, attempt, handler), name=task.id)

    def _handler(self, task: Task) -> Handler:
        if task.spec.type not in self._handlers:
            raise NotFound("handler on this worker for task type", task.spec.type)
        return self._handlers[task.spec.type]

    async def _carry_out(self, key: tuple[str, int], attempt: RunningAttempt, handler: Handler) -> None:
        try:
            outcome = await attempt.run(handler)
        finally:
            self._ending.add(key)
            del self._running[key]
            self._room.set()
        await self._end(key, outcome)

    async def _end(self, key: tuple[str, int], outcome: Outcome | None) -> None:
        try:
            if outcome is not None and await self._ends.record(outcome) is None:
                log.info("The end of %s, attempt %d, came too late.", *key)
        finally:
            self._ending.discard(key)
            if not self._running and not self._ending:
                self._idle.set()
