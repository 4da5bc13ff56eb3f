"""`aetherium up` is killed again and again in the middle of tasks: what was accepted ends once."""

from __future__ import annotations

import asyncio
import os
import random
import signal

from aetherium.client import AsyncClient
from aetherium.domain.jobs import JobSpec, JobState, JobStep
from aetherium.domain.tasks import ENDED, Retry, TaskSpec, TaskState
from aetherium.settings import Settings
from tests.e2e.conftest import CLI, cli
from tests.fixtures.platform import fake_platform
from tests.fixtures.waiting import eventually

__all__ = ["cli"]

KILLS = 4
SEED = int(os.environ.get("AETHERIUM_TEST_SEED") or random.randrange(1 << 32))


def work(random: random.Random) -> list[TaskSpec]:
    """Short tasks: some fail once, some always."""
    patient = Retry(max_attempts=20, base_s=0.05, cap_s=0.2)
    return [
        TaskSpec(
            "system.noop",
            {"sleep_s": random.uniform(0, 0.2), "failures": random.choice((0, 0, 0, 1, 99))},
            retry=patient,
        )
        for _ in range(15)
    ]


async def submit(cli: CLI, chance: random.Random, jobs: bool) -> tuple[list[str], list[str]]:
    """Some tasks and jobs; the ids of those that were accepted."""
    async with AsyncClient.unix(Settings(data_dir=cli.data_dir).socket) as client:
        accepted = [task.id for task in await client.tasks.submit_many(work(chance))]
        script = JobStep("s", run="sleep 0.2; echo done")
        spec = JobSpec((script,), workdir=str(cli.data_dir / "work"), patch=False, attempts=20)
        return accepted, [(await client.jobs.submit(spec)).id for _ in range(2 if jobs else 0)]


async def test_tasks_outlive_the_daemon(cli: CLI) -> None:
    print(f"AETHERIUM_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    tasks: list[str] = []
    jobs: list[str] = []
    for turn in range(KILLS):
        async with cli.daemon() as daemon:
            more_tasks, more_jobs = await submit(cli, chance, turn < KILLS - 1)
            tasks, jobs = tasks + more_tasks, jobs + more_jobs
            moment = asyncio.ensure_future(daemon.wait())
            await asyncio.wait([moment], timeout=chance.uniform(0, 1.0))
            daemon.send_signal(signal.SIGKILL)
            await moment
    async with fake_platform(cli.data_dir, background=True) as platform:

        async def over() -> bool:
            counts = await platform.tasks.count()
            return not set(counts) - ENDED

        await eventually(over, within_s=60)
        store = platform.host.store
        for task_id in tasks:
            task = await store.tasks.get(task_id)
            hopeless = task.spec.payload["failures"] == 99
            assert task.state is (TaskState.DEAD if hopeless else TaskState.SUCCEEDED), task
            attempts = await store.tasks.attempts(task_id)
            assert [attempt.number for attempt in attempts] == list(range(1, task.attempt + 1))
            assert sum(not attempt.error_code for attempt in attempts) == int(not hopeless)
            assert all(attempt.ended_at for attempt in attempts)
        for job_id in jobs:
            job = await store.jobs.get(job_id)
            assert job.state is JobState.SUCCEEDED, job
            events = [event async for event in platform.jobs.events(job_id)]
            assert [event.seq for event in events] == sorted({event.seq for event in events})
            assert events[-1].data["state"] == "succeeded"
        await platform.reconciler.reconcile()
        assert await platform.vms.list() == []
        assert [path.name for path in (cli.data_dir / "fake").iterdir()] == []
        assert [worker.info.private for worker in await store.workers.list(private=True)] == [False]
