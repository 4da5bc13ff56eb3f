"""Tasks and what belongs to them, through the gateway and the client.

The platform's own orchestrator and worker carry out what is due; what is to stay as it is waits for a far
time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from aetherium.client import Client
from aetherium.client.aio import AsyncClient
from aetherium.domain.errors import AlreadyExists, InvalidInput, InvalidTransition, NotFound
from aetherium.domain.projects import Quota
from aetherium.domain.schedules import ScheduleSpec
from aetherium.domain.tasks import Priority, Retry, TaskSpec, TaskState, TypeLimit
from aetherium.gateway.server import serve_platform
from tests.fixtures.platform import fake_platform
from tests.integration.gateway.conftest import Gateway

NOOP = TaskSpec("system.noop")
FAILS = TaskSpec("system.noop", {"failures": 9}, retry=Retry(max_attempts=1))
LATER = TaskSpec("system.noop", run_at=datetime(2100, 1, 1, tzinfo=UTC))


@pytest.fixture
async def gateway(data_dir: Path) -> AsyncIterator[Gateway]:
    """One whose platform carries tasks out."""
    async with fake_platform(data_dir, background=True) as platform:
        socket = data_dir / "run" / "s"
        async with serve_platform(platform, socket, grace_s=1.0):
            yield Gateway(platform, socket)


async def _dead(client: AsyncClient) -> str:
    """A dead letter."""
    task = await client.tasks.submit(FAILS)
    assert (await client.tasks.wait(task.id, timeout_s=20)).state is TaskState.DEAD
    return task.id


async def test_a_task_is_submitted_found_and_cancelled(client: AsyncClient) -> None:
    task = await client.tasks.submit(
        TaskSpec("system.noop", {"sleep_s": 1}, Priority.HIGH, run_at=LATER.run_at)
    )
    assert task.state is TaskState.SCHEDULED
    assert task.spec.payload["sleep_s"] == 1
    assert (await client.tasks.get(task.id[:14])).id == task.id
    assert (await client.tasks.attempts(task.id)) == []
    cancelled = await client.tasks.cancel(task.id, reason="not needed")
    assert cancelled.state is TaskState.CANCELLED
    assert (await client.tasks.wait(task.id)).state is TaskState.CANCELLED
    with pytest.raises(NotFound):
        await client.tasks.get("task_0000000000000000")


async def test_waiting_has_an_end(client: AsyncClient) -> None:
    task = await client.tasks.submit(LATER)
    assert (await client.tasks.wait(task.id, timeout_s=0.01)).state is TaskState.SCHEDULED


async def test_who_waits_hears_of_the_end(client: AsyncClient) -> None:
    task = await client.tasks.submit(LATER)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = group.create_task(client.tasks.wait(task.id))
        await client.tasks.cancel(task.id)
    assert waiting.result().state is TaskState.CANCELLED


async def test_a_repeated_key_gives_the_first_task(client: AsyncClient) -> None:
    first = await client.tasks.submit(LATER, idempotency_key="k")
    assert (await client.tasks.submit(LATER, idempotency_key="k")).id == first.id
    batch = await client.tasks.submit_many([LATER, LATER], idempotency_key="k")
    again = await client.tasks.submit_many([LATER, LATER], idempotency_key="k")
    assert [task.id for task in batch] == [task.id for task in again]
    assert len({first.id, *(task.id for task in batch)}) == 3


async def test_what_cannot_be_used_is_refused(client: AsyncClient) -> None:
    with pytest.raises(InvalidInput, match=r"system\.nop") as caught:
        await client.tasks.submit(TaskSpec("system.nop"))
    assert "system.noop" in caught.value.hint
    with pytest.raises(InvalidInput, match="sleep"):
        await client.tasks.submit(TaskSpec("system.noop", {"sleep": 1}))
    with pytest.raises(InvalidInput, match="platform"):
        await client.tasks.submit(TaskSpec("job.run", {"job_id": "x"}))
    with pytest.raises(InvalidInput):
        await client.tasks.submit_many([])
    await client.tasks.submit(TaskSpec("system.noop", run_at=LATER.run_at, unique_key="one"))
    with pytest.raises(AlreadyExists):
        await client.tasks.submit(TaskSpec("system.noop", run_at=LATER.run_at, unique_key="one"))
    # All or none: the good one is not there either.
    with pytest.raises(InvalidInput):
        await client.tasks.submit_many([TaskSpec("system.noop", group="g"), TaskSpec("nothing")])
    assert await client.tasks.list(group="g") == []


async def test_lists_are_filtered_and_read_page_by_page(client: AsyncClient, gateway: Gateway) -> None:
    specs = [
        TaskSpec("system.noop", priority=priority, group="g", run_at=LATER.run_at)
        for priority in (Priority.LOW, Priority.HIGH, Priority.LOW)
    ]
    ids = [task.id for task in await client.tasks.submit_many(specs)]
    newest = sorted(ids, reverse=True)
    assert [task.id for task in await client.tasks.list(group="g")] == newest
    assert [task.id for task in await client.tasks.list(group="g", limit=2)] == newest[:2]
    low = await client.tasks.list(priority=Priority.LOW, types=["system.noop"], states=[TaskState.SCHEDULED])
    assert {task.id for task in low} == {ids[0], ids[2]}
    assert await client.tasks.list(error_code="worker_lost") == []
    with pytest.raises(NotFound):
        await client.tasks.list(worker="nobody")
    found: list[str] = []
    transport = httpx2.AsyncHTTPTransport(uds=str(gateway.socket))
    async with httpx2.AsyncClient(transport=transport, base_url="http://a") as http:
        cursor: str | None = None
        for _ in ids:
            params = {"limit": "1", "group": "g", **({"cursor": cursor} if cursor else {})}
            page = (await http.get("/v1/tasks", params=params)).json()
            found += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
    assert found == newest
    assert cursor is None


async def test_a_group_is_cancelled_as_one(client: AsyncClient) -> None:
    await client.tasks.submit_many([TaskSpec("system.noop", group="g", run_at=LATER.run_at)] * 3)
    other = await client.tasks.submit(LATER)
    with pytest.raises(InvalidInput, match="not clear"):
        await client.tasks.cancel_all()
    with pytest.raises(InvalidInput, match="not clear"):
        await client.tasks.cancel_all(group="g", all=True)
    assert await client.tasks.cancel_all(group="g") == 3
    assert await client.tasks.cancel_all(group="g") == 0
    assert (await client.tasks.get(other.id)).state is TaskState.SCHEDULED


async def test_types_say_what_is_in_their_payloads(client: AsyncClient) -> None:
    types = {kind.name: kind for kind in await client.tasks.types()}
    assert types["job.run"].public is False
    properties = types["system.noop"].payload["properties"]
    assert isinstance(properties, dict)
    assert "sleep_s" in properties


async def test_dead_letters(client: AsyncClient) -> None:
    first, second, third = [await _dead(client) for _ in range(3)]
    alive = await client.tasks.submit(LATER)
    assert [task.id for task in await client.dead_letters.list()] == [third, second, first]
    assert (await client.dead_letters.get(first)).error
    assert len(await client.tasks.attempts(first)) == 1
    with pytest.raises(NotFound, match="dead letter"):
        await client.dead_letters.get(alive.id)
    assert (await client.dead_letters.requeue(first)).failures == 0
    assert (await client.dead_letters.discard(second)).state is TaskState.DISCARDED
    for change in (client.dead_letters.requeue, client.dead_letters.discard):
        with pytest.raises(InvalidTransition):
            await change(alive.id)
    with pytest.raises(InvalidInput, match="not clear"):
        await client.dead_letters.discard_all()
    assert await client.dead_letters.requeue_all(error_code="worker_lost") == 0
    assert await client.dead_letters.requeue_all(ids=[third, alive.id]) == 1
    # The two that were requeued die again.
    for task_id in (first, third):
        assert (await client.tasks.wait(task_id, timeout_s=20)).state is TaskState.DEAD
    assert await client.dead_letters.discard_all(all=True) == 2


async def test_schedules(client: AsyncClient) -> None:
    made = await client.schedules.create("night", ScheduleSpec(NOOP, cron="30 2 * * *", zone="Europe/Zurich"))
    assert made.next_at is not None
    assert [item.id for item in await client.schedules.list()] == [made.id]
    assert (await client.schedules.pause("night")).next_at is None
    assert (await client.schedules.resume("night")).next_at is not None
    task = await client.schedules.run_now("night")
    assert task.schedule_id == made.id
    assert (await client.schedules.get(made.id)).last_task_id == task.id
    with pytest.raises(AlreadyExists):
        await client.schedules.create("night", ScheduleSpec(NOOP, every_s=60))
    with pytest.raises(InvalidInput, match="cron"):
        await client.schedules.create("wrong", ScheduleSpec(NOOP, cron="61 * * * *"))
    await client.schedules.delete("night")
    assert (await client.tasks.get(task.id)).schedule_id == made.id
    with pytest.raises(NotFound):
        await client.schedules.get("night")


async def test_queues_and_limits(client: AsyncClient) -> None:
    await client.tasks.submit(TaskSpec("system.noop", priority=Priority.LOW, run_at=LATER.run_at))
    assert (await client.queues.pause(Priority.LOW)).paused
    queues = {queue.priority: queue for queue in await client.queues.list()}
    assert list(queues) == list(Priority)
    assert queues[Priority.LOW].paused
    assert queues[Priority.LOW].scheduled == 1
    assert not (await client.queues.resume(Priority.LOW)).paused
    await client.queues.limit("vm.create", TypeLimit(per_second=2.0, burst=5, concurrency=10))
    assert dict(await client.queues.limits()) == {"vm.create": TypeLimit(2.0, 5, 10)}
    await client.queues.unlimit("vm.create")
    with pytest.raises(NotFound):
        await client.queues.unlimit("vm.create")
    with pytest.raises(InvalidInput):
        await client.queues.limit("nothing", TypeLimit(concurrency=1))


async def test_workers(client: AsyncClient) -> None:
    with pytest.raises(NotFound, match="worker"):
        await client.workers.get("nobody")
    for status in await client.workers.list():
        assert (await client.workers.get(status.worker.id)).worker.id == status.worker.id


async def test_projects(client: AsyncClient) -> None:
    made = await client.projects.create("team-a", quota=Quota(waiting=5))
    assert (await client.projects.get("team-a")).quota.waiting == 5
    task = await client.tasks.submit(LATER, project="team-a")
    assert task.project_id == made.id
    assert [found.id for found in await client.tasks.list(project="team-a")] == [task.id]
    assert (await client.projects.set_quota("team-a", Quota(tasks=1))).quota == Quota(tasks=1)
    assert {"default", "team-a"} <= {project.name for project in await client.projects.list()}
    with pytest.raises(InvalidInput):
        await client.projects.create("Team A")
    with pytest.raises(NotFound):
        await client.tasks.submit(LATER, project="nobody")


async def test_events_are_read_and_followed(client: AsyncClient) -> None:
    task = await client.tasks.submit(LATER)
    async with asyncio.timeout(20), client.events.stream(types=["task.*"]) as events:
        await client.tasks.cancel(task.id)
        found = [await anext(events)]
        while found[-1].type != "task.cancelled":
            found.append(await anext(events))
    assert {event.subject for event in found} == {task.id}
    async with client.events.stream(after=found[-1].seq - 1, types=["task.*"], follow=False) as events:
        assert [event.seq async for event in events] == [found[-1].seq]
    async with client.events.stream(latest=1, types=["task.cancelled"], follow=False) as events:
        assert [event.seq async for event in events] == [found[-1].seq]


async def test_times_need_a_zone(gateway: Gateway) -> None:
    transport = httpx2.AsyncHTTPTransport(uds=str(gateway.socket))
    async with httpx2.AsyncClient(transport=transport, base_url="http://a") as http:
        body = {"spec": {"type": "system.noop", "run_at": "2100-01-01T00:00:00"}}
        answer = await http.post("/v1/tasks", json=body)
        assert answer.status_code == 422
        assert "zone" in answer.json()["detail"]
        answer = await http.post("/v1/tasks", json={"spec": {"type": "system.noop", "prority": "low"}})
        assert answer.status_code == 422
        assert "priority" in answer.json()["hint"]


def _use(socket: Path) -> None:
    with Client.unix(socket) as client:
        run_at = datetime.now(UTC) + timedelta(days=1)
        task = client.tasks.submit(TaskSpec("system.noop", run_at=run_at), idempotency_key="k")
        assert [found.id for found in client.tasks.list(states=[TaskState.SCHEDULED])] == [task.id]
        assert client.tasks.cancel(task.id).state is TaskState.CANCELLED
        assert client.tasks.cancel_all(all=True) == 0
        assert client.tasks.types()
        assert client.dead_letters.requeue_all(all=True) == 0
        made = client.schedules.create("tick", ScheduleSpec(NOOP, every_s=60))
        assert client.schedules.get("tick") == made
        client.schedules.delete("tick")
        assert client.queues.pause(Priority.LOW).paused
        assert "default" in {project.name for project in client.projects.list()}
        list(client.events.stream(follow=False))
        client.workers.list()


async def test_the_same_without_an_event_loop(gateway: Gateway) -> None:
    await asyncio.to_thread(_use, gateway.socket)
