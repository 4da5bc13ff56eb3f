"""What has to hold after any fault."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tests.faults.cluster.cluster import TASKS, VCPUS, Cluster
from tests.faults.cluster.load import Load
from tests.faults.cluster.rows import AttemptRow, TaskRow
from tests.fixtures.leftovers import working_in
from tests.fixtures.waiting import eventually

ENDS = {"succeeded", "dead", "cancelled"}
# What the driver qemu keeps for all its VMs.
_CACHE = ".cache"
# After a worker was lost: its lease, its start, and a look of its reconciler.
_TIDY_S = 30.0


def check_tasks(tasks: Sequence[TaskRow], load: Load) -> None:
    """Everything that was accepted has ended, once, in a way that it could end."""
    by_id = {task.id: task for task in tasks}
    assert {id_: key for key, id_ in load.told.items()} == {
        task.id: task.idempotency_key for task in tasks if task.idempotency_key
    }, "What clients were told is not what was accepted."
    assert load.expected.keys() <= by_id.keys()
    for task in tasks:
        assert task.state in load.expected.get(task.id, ENDS), task
        assert task.ended_at is not None
        assert task.finals == 1, f"{task.finals} events say that it has ended: {task}"
        check_attempts(task)


def check_attempts(task: TaskRow) -> None:
    """Attempts follow one another, and one at most went well: the last. What a lost worker wrote too late
    would show here: an attempt that ends after its successor began."""
    attempts = task.attempts
    assert [each.number for each in attempts] == list(range(1, task.attempt + 1)), task
    good = [each.number for each in attempts if not each.error_code]
    assert good == ([task.attempt] if task.state == "succeeded" else []), task
    ends = [each.ended_at for each in attempts]
    assert None not in ends, task
    for end, following in zip(ends, attempts[1:], strict=False):
        assert end is not None
        assert end <= following.started_at, task


def check_capacity(tasks: Sequence[TaskRow]) -> None:
    """No worker had more at once than it offers."""
    vcpus = {task.id: task.vcpus for task in tasks}
    by_worker: dict[str, list[AttemptRow]] = {}
    for task in tasks:
        for attempt in task.attempts:
            by_worker.setdefault(attempt.worker_id, []).append(attempt)
    for worker, attempts in by_worker.items():
        changes = []
        for each in attempts:
            assert each.ended_at is not None
            changes += [(each.started_at, 1, 1, vcpus[each.task_id])]
            changes += [(each.ended_at, 0, -1, -vcpus[each.task_id])]
        count = used = 0
        for _, _, more, processors in sorted(changes):
            count, used = count + more, used + processors
            assert count <= TASKS, f"{worker} had {count} tasks."
            assert used <= VCPUS, f"{worker} had {used} virtual processors in use."


def left_on(data_dir: Path) -> list[str]:
    """Agents, and files of VMs and forks, on the host of a worker that has nothing to do."""
    images = (data_dir / "images" / "holds").rglob("*")
    paths = [path for path in images if path.is_file()]
    for name in ("fake", "vms", "forks", "locks", "snapshots"):
        paths += [path for path in (data_dir / name).glob("*") if path.name != _CACHE]
    agents = [line for line in working_in(data_dir).values() if "aetherium.guest" in line or "qemu" in line]
    return [*agents, *map(str, paths)]


async def check_hosts(cluster: Cluster) -> None:
    """Nothing is left on any host, once its worker has looked around."""
    left: list[str] = []

    async def tidy() -> bool:
        left[:] = [
            each for worker in cluster.workers for each in await asyncio.to_thread(left_on, worker.data_dir)
        ]
        return not left

    try:
        await eventually(tidy, within_s=_TIDY_S)
    except TimeoutError:
        known = await cluster.rows.vms()
        raise AssertionError("\n".join(["Left on the hosts:", *left, "In the database:", *known])) from None
