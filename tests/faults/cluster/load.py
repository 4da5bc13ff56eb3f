"""Work for a cluster: tasks, jobs and VMs of all kinds, through its gateways' sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from aetherium.client import AsyncClient
from aetherium.domain.errors import AlreadyExists, ChannelClosed, Unavailable
from aetherium.domain.ids import new_id
from aetherium.domain.jobs import JobSpec, JobStep
from aetherium.domain.tasks import ENDED, Demand, Retry, Task, TaskSpec, TaskState

T = TypeVar("T")

# Losses of workers count as failures; the faults of one test must not use them up.
PATIENT = Retry(max_attempts=50, base_s=0.05, cap_s=0.3)
_HOPELESS = Retry(max_attempts=2, base_s=0.05, cap_s=0.1)
_RETRY_S = 0.1
_SMALL = {"vcpus": 1, "memory_mib": 128, "disk_mib": 16}

GOOD = frozenset({TaskState.SUCCEEDED})
BAD = frozenset({TaskState.DEAD})


class Load:
    """One load; `run` it once.

    Attributes:
        told: idempotency key → id, of all tasks that a gateway has said it accepted.
        expected: id → the states in which a task may end.
        plain: ids of tasks that nothing but a fault can keep from succeeding at the first attempt.
        jobs: ids of jobs that a gateway has said it accepted.
    """

    def __init__(self, sockets: Sequence[Path], scratch: Path, chance: random.Random) -> None:
        self.told: dict[str, str] = {}
        self.expected: dict[str, Collection[TaskState]] = {}
        self.plain: set[str] = set()
        self.jobs: set[str] = set()
        self._clients = [AsyncClient.unix(socket) for socket in sockets]
        self._scratch = scratch
        self._chance = chance

    async def run(self, span_s: float) -> None:
        """Submit everything, spread over so many seconds; VMs are followed to their ends."""
        orders: list[Callable[[], Awaitable[object]]] = [
            *[self._plain] * 150,
            *[self._slow] * 30,
            *[self._failing_once] * 20,
            *[self._hopeless] * 8,
            *[self._chain] * 10,
            *[self._doomed_chain] * 2,
            *[self._unique] * 8,
            *[self._repeated] * 15,
            *[self._cancelled] * 15,
            *[self._job] * 15,
            *[self._vm] * 8,
        ]
        self._chance.shuffle(orders)
        try:
            async with asyncio.TaskGroup() as group:
                for order in orders:
                    group.create_task(self._later(self._chance.uniform(0, span_s), order))
        finally:
            for client in self._clients:
                await client.close()

    async def _later(self, pause_s: float, order: Callable[[], Awaitable[object]]) -> None:
        await asyncio.sleep(pause_s)
        await order()

    async def _call(self, call: Callable[[AsyncClient], Awaitable[T]]) -> T:
        """At any gateway, again and again until one answers."""
        while True:
            try:
                return await call(self._chance.choice(self._clients))
            except (Unavailable, ChannelClosed):
                await asyncio.sleep(_RETRY_S)

    async def _submit(self, spec: TaskSpec, ends: Collection[TaskState], key: str = "") -> Task:
        key = key or new_id("task")
        task = await self._call(lambda client: client.tasks.submit(spec, idempotency_key=key))
        assert self.told.setdefault(key, task.id) == task.id, "One key was answered with two tasks."
        self.expected[task.id] = ends
        return task

    async def _plain(self) -> None:
        self.plain.add((await self._submit(_noop(), GOOD)).id)

    async def _slow(self) -> None:
        self.plain.add((await self._submit(_noop(sleep_s=self._chance.uniform(0.2, 1.5)), GOOD)).id)

    async def _failing_once(self) -> None:
        await self._submit(_noop(failures=1), GOOD)

    async def _hopeless(self) -> None:
        await self._submit(_noop(failures=99, retry=_HOPELESS), BAD)

    async def _chain(self) -> None:
        first = await self._submit(_noop(sleep_s=0.2), GOOD)
        second = await self._submit(_noop(after=(first.id,)), GOOD)
        await self._submit(_noop(after=(first.id, second.id)), GOOD)

    async def _doomed_chain(self) -> None:
        first = await self._submit(_noop(failures=99, retry=_HOPELESS), BAD)
        second = await self._submit(_noop(after=(first.id,)), BAD)
        await self._submit(_noop(after=(second.id,)), BAD)

    async def _unique(self) -> None:
        unique = new_id("task")
        first = await self._submit(_noop(sleep_s=0.5, unique_key=unique), GOOD)
        with suppress(AlreadyExists):
            await self._submit(_noop(unique_key=unique), GOOD)
            # That was allowed if the first had ended.
            assert (await self._call(lambda client: client.tasks.get(first.id))).state in ENDED

    async def _repeated(self) -> None:
        key, spec = new_id("task"), _noop()
        await asyncio.gather(*(self._submit(spec, GOOD, key) for _ in range(3)))

    async def _cancelled(self) -> None:
        sleep_s = self._chance.choice((0.0, 0.5, 30.0))
        ends = {TaskState.CANCELLED} if sleep_s == 30.0 else {TaskState.CANCELLED, TaskState.SUCCEEDED}
        task = await self._submit(_noop(sleep_s=sleep_s), ends)
        await asyncio.sleep(self._chance.uniform(0, 0.5))
        await self._call(lambda client: client.tasks.cancel(task.id))

    async def _job(self) -> None:
        step = JobStep("say", run=f"sleep {self._chance.uniform(0, 0.5):.2f}; echo done")
        spec = JobSpec((step,), workdir=str(self._scratch / new_id("job")), patch=False, attempts=50)
        # There is no key for jobs: one whose answer was lost is carried out all the same.
        job = await self._call(lambda client: client.jobs.submit(spec))
        assert job.task_id is not None
        self.jobs.add(job.id)
        self.expected[job.task_id] = GOOD

    async def _vm(self) -> None:
        spec = TaskSpec("vm.create", {"spec": {"resources": _SMALL}}, retry=PATIENT)
        made = await self._ended(await self._submit(spec, GOOD))
        assert made.result is not None, made
        vm_id = str(made.result["vm_id"])
        here = Demand(worker_id=made.worker_id)
        payload = {"vm_id": vm_id, "argv": ["sh", "-c", "sleep 0.2; echo done"]}
        # It is not repeated, so it is lost with its worker, or with its VM.
        await self._ended(await self._submit(TaskSpec("vm.exec", payload, demand=here), GOOD | BAD))
        await self._submit(TaskSpec("vm.delete", {"vm_id": vm_id}, demand=here, retry=PATIENT), GOOD)

    async def _ended(self, task: Task) -> Task:
        while True:
            now = await self._call(lambda client: client.tasks.wait(task.id, timeout_s=10))
            if now.state in ENDED:
                return now


def _noop(
    *,
    sleep_s: float = 0.0,
    failures: int = 0,
    retry: Retry = PATIENT,
    after: tuple[str, ...] = (),
    unique_key: str = "",
) -> TaskSpec:
    payload = {"sleep_s": sleep_s, "failures": failures}
    return TaskSpec("system.noop", payload, retry=retry, after=after, unique_key=unique_key)
