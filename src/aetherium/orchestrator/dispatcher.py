"""Gives waiting tasks to workers, and sends the tickets.

The database is asked for the first tasks of each lane only, so a turn costs the same whatever waits. What was
placed and whose ticket never arrived is found by `resend`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aetherium.domain.errors import AetheriumError
from aetherium.domain.projects import Project
from aetherium.domain.tasks import Demand, Priority, Task, TypeLimit
from aetherium.domain.workers import Usage, Worker
from aetherium.interfaces.queue import TaskQueue, Ticket
from aetherium.interfaces.store import Store
from aetherium.interfaces.task_store import Lane, LeaderEpoch, Load, Placement
from aetherium.orchestrator.placement import Choice, Room, Strategy, choose, rooms
from aetherium.orchestrator.turns import Turns

log = logging.getLogger(__name__)

# Of each lane this many are looked at in a turn, at most.
_HEADS = 256
# What operators set is read again after this long.
_FRESH_S = 1.0


def lane_of(worker_id: str) -> str:
    """The lane of the queue that a worker reads."""
    return f"worker.{worker_id}"


@dataclass
class _Facts:
    """What changes rarely."""

    workers: Sequence[Worker] = ()
    projects: Mapping[str, Project] = field(default_factory=dict)
    paused: frozenset[int] = frozenset()
    limits: Mapping[str, TypeLimit] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)


class Dispatcher:
    """One leader's."""

    def __init__(
        self,
        store: Store,
        queue: TaskQueue,
        *,
        weights: Mapping[Priority, int],
        strict: bool,
        strategy: Strategy,
    ) -> None:
        self._store = store
        self._queue = queue
        self._turns = Turns({each.rank: weights.get(each, 1) for each in Priority}, strict=strict)
        self._strategy = strategy
        self._facts = _Facts()
        self._read_at = float("-inf")
        self._reasons: dict[str, str] = {}

    def forget(self) -> None:
        """Read everything again: something was changed, or this leadership is new."""
        self._read_at = float("-inf")

    async def dispatch(self, epoch: LeaderEpoch) -> bool:
        """One turn: whether another one may place more, though nothing has changed meanwhile. Raises Conflict
        when `epoch` is over, Unavailable."""
        # At once: a task that waits for nothing but this is placed some round trips earlier.
        facts, waiting, load = await asyncio.gather(
            self._known(), self._store.tasks.lanes(), self._store.tasks.load()
        )
        lanes = [lane for lane in waiting if lane.rank not in facts.paused]
        self._turns.forget(lanes)
        if not lanes:
            return False
        found = rooms(facts.workers, load.workers)
        room = sum(max(0, each.tasks) for each in found)
        if not room and found:
            return False
        looked_at = min(_HEADS, max(room, 1))
        heads = await self._heads(lanes, looked_at)
        turn = _Turn(facts, load, found, self._strategy)
        turn.allowances = await self._allowances(facts, heads, room)
        placed = turn.run(self._turns, heads)
        await self._give_back(turn)
        sent = await self._place(placed, epoch) if placed else 0
        await self._explain(turn)
        all_seen = all(len(tasks) < looked_at for tasks in heads.values())
        return sent < len(placed) or (sent > 0 and not all_seen)

    async def resend(self, after_s: float) -> int:
        """Send tickets again that were not followed by a claim; how many these were."""
        late = await self._store.tasks.unclaimed(after_s)
        if late:
            log.info("%d tickets were not answered and are sent again.", len(late))
        await self._send([(task, task.worker_id) for task in late if task.worker_id])
        return len(late)

    async def _known(self) -> _Facts:
        if time.monotonic() - self._read_at >= _FRESH_S:
            self._read_at = time.monotonic()  # what is forgotten while it is read is read again
            try:
                self._facts = await self._read()
            except BaseException:
                self.forget()
                raise
        return self._facts

    async def _read(self) -> _Facts:
        store = self._store
        workers, projects, paused, limits, images = await asyncio.gather(
            store.workers.list(),
            store.projects.list(),
            store.queues.paused(),
            store.queues.limits(),
            store.images.tags(),
        )
        return _Facts(
            workers=workers,
            projects={each.id: each for each in projects},
            paused=frozenset(each.rank for each in paused),
            limits=limits,
            images=images,
        )

    async def _heads(self, lanes: Sequence[Lane], limit: int) -> Mapping[Lane, Sequence[Task]]:
        heads: dict[Lane, list[Task]] = {}
        for task in await self._store.tasks.waiting(lanes, limit=limit):
            lane = Lane(task.spec.priority.rank, task.project_id, task.spec.type)
            heads.setdefault(lane, []).append(task)
        return heads

    async def _allowances(
        self, facts: _Facts, heads: Mapping[Lane, Sequence[Task]], room: int
    ) -> dict[str, int]:
        """How many of each limited type may begin in this turn."""
        wanted: dict[str, int] = {}
        for lane, tasks in heads.items():
            limit = facts.limits.get(lane.type)
            if limit is not None and limit.per_second is not None:
                wanted[lane.type] = min(room, wanted.get(lane.type, 0) + len(tasks))
        return dict(await self._store.queues.take(wanted)) if wanted else {}

    async def _give_back(self, turn: _Turn) -> None:
        unused = {name: -left for name, left in turn.allowances.items() if left > 0}
        if unused:
            await self._store.queues.take(unused)

    async def _place(self, placed: Sequence[tuple[Task, str]], epoch: LeaderEpoch) -> int:
        ids = await self._store.tasks.place([Placement(task.id, worker) for task, worker in placed], epoch)
        await self._send([(task, worker) for task, worker in placed if task.id in ids])
        return len(ids)

    async def _send(self, tasks: Sequence[tuple[Task, str]]) -> None:
        by_worker: dict[str, list[Ticket]] = {}
        for task, worker in tasks:
            ticket = Ticket(task.id, task.attempt + 1, task.spec.priority.rank)
            by_worker.setdefault(worker, []).append(ticket)
        for worker, tickets in by_worker.items():
            try:
                await self._queue.publish(lane_of(worker), tickets)
            except AetheriumError as error:  # they are sent again when nobody has claimed them in time
                log.warning("%d tickets cannot be sent now: %s", len(tickets), error)

    async def _explain(self, turn: _Turn) -> None:
        """Write down why tasks wait, where that is news."""
        for reasons, park in ((turn.hopeless, True), (turn.busy, False)):
            news = {
                task_id: reason
                for task_id, reason in reasons.items()
                if park or self._reasons.get(task_id) != reason
            }
            await self._store.tasks.explain(news, park=park)
        self._reasons = dict(turn.busy)
        if turn.hopeless:
            await self._doubt(turn)

    async def _doubt(self, turn: _Turn) -> None:
        """Whoever registered after the workers were read could not bring back what was parked since."""
        if _abilities(await self._store.workers.list()) != _abilities(turn.workers):
            self.forget()
            await self._store.tasks.unpark()


def _abilities(workers: Sequence[Worker]) -> dict[str, object]:
    return {each.id: (each.incarnation, each.state, each.info) for each in workers}


class _Turn:
    """One round of choices."""

    def __init__(self, facts: _Facts, load: Load, found: list[Room], strategy: Strategy) -> None:
        self._facts = facts
        self._rooms = found
        self._strategy = strategy
        self._projects = dict(load.projects)
        self._types = dict(load.types)
        self.allowances: dict[str, int] = {}
        self.hopeless: dict[str, str] = {}
        self.busy: dict[str, str] = {}

    @property
    def workers(self) -> Sequence[Worker]:
        """As they were known to it."""
        return self._facts.workers

    def run(self, turns: Turns, heads: Mapping[Lane, Sequence[Task]]) -> Sequence[tuple[Task, str]]:
        """The tasks that can begin now, each with its worker."""
        placed: list[tuple[Task, str]] = []
        order = turns.order(heads)
        step = next(order, None)
        while step is not None:
            lane, task = step
            worker = self._try(lane, task)
            if worker is not None:
                placed.append((task, worker))
            # A task that nothing but a new worker could help steps aside; one that waits holds its lane up.
            blocked = worker is None and task.id in self.busy
            try:
                step = order.send(blocked)
            except StopIteration:
                break
        return placed

    def _try(self, lane: Lane, task: Task) -> str | None:
        demand = task.spec.demand
        refusal = self._refusal(lane, demand)
        if refusal:
            self.busy[task.id] = refusal
            return None
        choice = choose(demand, self._rooms, self._facts.images, self._strategy)
        if choice.room is None:
            self._note(task, choice)
            return None
        choice.room.take(demand)
        more = Usage(1, demand.vcpus, demand.memory_mib, int(demand.vcpus > 0))
        self._projects[lane.project_id] = self._projects.get(lane.project_id, Usage()) + more
        self._types[lane.type] = self._types.get(lane.type, 0) + 1
        if lane.type in self.allowances:
            self.allowances[lane.type] -= 1
        return choice.room.worker.id

    def _note(self, task: Task, choice: Choice) -> None:
        if choice.hopeless:
            self.hopeless[task.id] = choice.reason
        else:
            self.busy[task.id] = choice.reason

    def _refusal(self, lane: Lane, demand: Demand) -> str:
        limit = self._facts.limits.get(lane.type)
        if limit is not None:
            running = self._types.get(lane.type, 0)
            if limit.concurrency is not None and running >= limit.concurrency:
                return f"{running} tasks of type {lane.type} run, the limit is {limit.concurrency}."
            if limit.per_second is not None and self.allowances.get(lane.type, 0) <= 0:
                return f"The limit of {limit.per_second:g} tasks of type {lane.type} per second is reached."
        project = self._facts.projects.get(lane.project_id)
        if project is None:
            return ""
        used, quota = self._projects.get(lane.project_id, Usage()), project.quota
        for name, inside, more, most in (
            ("tasks", used.tasks, 1, quota.tasks),
            ("VMs", used.vms, int(demand.vcpus > 0), quota.vms),
            ("vCPUs", used.vcpus, demand.vcpus, quota.vcpus),
            ("MiB of memory", used.memory_mib, demand.memory_mib, quota.memory_mib),
        ):
            if most is not None and more and inside + more > most:
                return f"The project's quota of {most} {name} is reached: {inside} in use."
        return ""
