"""Work for a cluster: tasks, jobs and VMs of all kinds, through its gateways' sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from aetherium.client import AsyncClient
from aetherium.domain.errors import AlreadyExists, ChannelClosed, Unavailable
from aetherium.domain.executions import ExecutionSpec, ExecutionState
from aetherium.domain.guest import OutputStream
from aetherium.domain.ids import new_id
from aetherium.domain.jobs import JobSpec, JobStep
from aetherium.domain.tasks import ENDED, Demand, Retry, Task, TaskSpec, TaskState
from aetherium.domain.vms import Resources

T = TypeVar("T")

# Losses of workers count as failures; the faults of one test must not use them up.
PATIENT = Retry(max_attempts=50, base_s=0.05, cap_s=0.3)
_HOPELESS = Retry(max_attempts=2, base_s=0.05, cap_s=0.1)
_RETRY_S = 0.1
SMALL = Resources(vcpus=1, memory_mib=128, disk_mib=16)
# Between two lines of a command that is followed; each costs a process.
_PRINT_S = 0.05
_PRINTING = "i=0; while [ $i -lt {lines} ]; do printf '%06d\\n' $i; i=$((i+1)); sleep {pause_s}; done"
_HELLO = ExecutionSpec(("echo", "hello"))
# How likely a follower goes to another gateway after a piece of output.
_LEAVE = 0.03

GOOD = frozenset({TaskState.SUCCEEDED})
BAD = frozenset({TaskState.DEAD})


class Load:
    """One load; `run` it once.

    Args:
        followers: clients that run a command in a VM each, and follow its output.
        size: of the VMs.

    Attributes:
        told: idempotency key → id, of all tasks that a gateway has said it accepted.
        expected: id → the states in which a task may end.
        plain: ids of tasks that nothing but a fault can keep from succeeding at the first attempt.
        jobs: ids of jobs that a gateway has said it accepted.
    """

    def __init__(
        self,
        sockets: Sequence[Path],
        scratch: Path,
        chance: random.Random,
        followers: int = 0,
        size: Resources = SMALL,
    ) -> None:
        self.told: dict[str, str] = {}
        self.expected: dict[str, Collection[TaskState]] = {}
        self.plain: set[str] = set()
        self.jobs: set[str] = set()
        self._clients = [AsyncClient.unix(socket) for socket in sockets]
        self._scratch = scratch
        self._chance = chance
        self._followers = followers
        self._size = size

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
                for _ in range(self._followers):
                    group.create_task(self._follower(span_s))
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
        workdir = str(self._scratch / new_id("job"))
        spec = JobSpec((step,), workdir=workdir, resources=self._size, patch=False, attempts=50)
        key = new_id("job")
        job = await self._call(lambda client: client.jobs.submit(spec, idempotency_key=key))
        assert job.task_id is not None
        self.told[key] = job.task_id
        self.jobs.add(job.id)
        self.expected[job.task_id] = GOOD

    async def _vm(self) -> None:
        vm_id, here = await self._made()
        payload = {"vm_id": vm_id, "argv": ["sh", "-c", "sleep 0.2; echo done"]}
        # It is not repeated, so it is lost with its worker, or with its VM.
        await self._ended(await self._submit(TaskSpec("vm.exec", payload, demand=here), GOOD | BAD))
        await self._delete(vm_id, here)

    async def _follower(self, span_s: float) -> None:
        """A command prints in a VM while the load comes, and others come and go beside it."""
        vm_id, here = await self._made()
        lines = round(span_s / _PRINT_S)
        spec = ExecutionSpec(("sh", "-c", _PRINTING.format(lines=lines, pause_s=_PRINT_S)))
        execution = await self._call(lambda client: client.executions.start(vm_id, spec))
        printed = asyncio.ensure_future(self._printed(execution.id))
        while not printed.done():
            done, out, _ = await self._call(lambda client: client.executions.run(vm_id, _HELLO))
            assert (done.state, out) == (ExecutionState.EXITED, b"hello\n")
            await asyncio.wait([printed], timeout=_RETRY_S)
        assert await printed == b"".join(b"%06d\n" % number for number in range(lines))
        await self._delete(vm_id, here)

    async def _printed(self, execution_id: str) -> bytes:
        """All that it prints, followed through one gateway after the other."""
        found = bytearray()

        async def follow(client: AsyncClient) -> bool:
            async with client.executions.follow(execution_id, stdout_offset=len(found)) as output:
                async for chunk in output:
                    assert (chunk.stream, chunk.offset) == (OutputStream.STDOUT, len(found))
                    found.extend(chunk.data)
                    if self._chance.random() < _LEAVE:
                        return False
                assert output.result is not None
                assert output.result.ok, output.result
                return True

        while not await self._call(follow):
            pass
        return bytes(found)

    async def _made(self) -> tuple[str, Demand]:
        """A VM, and what asks for its worker."""
        spec = TaskSpec("vm.create", {"spec": {"resources": asdict(self._size)}}, retry=PATIENT)
        made = await self._ended(await self._submit(spec, GOOD))
        assert made.result is not None, made
        return str(made.result["vm_id"]), Demand(worker_id=made.worker_id)

    async def _delete(self, vm_id: str, here: Demand) -> None:
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
