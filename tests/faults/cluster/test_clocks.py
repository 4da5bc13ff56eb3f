"""Hosts whose clocks are days apart agree on leases and due tasks: only the database's time counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from aetherium.domain.ids import new_id
from aetherium.domain.tasks import TaskState
from aetherium.domain.workers import WorkerInfo, WorkerState
from aetherium.interfaces.store import Store
from aetherium.storage.store import open_store
from aetherium.testing.clock import MockClock
from tests.contract.store.values import LONG_S, a_task, a_worker, running

_AHEAD, _BEHIND = timedelta(days=3), timedelta(days=-3)


async def _opened(url: str, skew: timedelta) -> AsyncIterator[Store]:
    async with open_store(url, MockClock(datetime.now(UTC) + skew)) as store:
        yield store


@pytest.fixture
async def ahead(postgres_store_url: str) -> AsyncIterator[Store]:
    async for store in _opened(postgres_store_url, _AHEAD):
        yield store


@pytest.fixture
async def behind(postgres_store_url: str) -> AsyncIterator[Store]:
    async for store in _opened(postgres_store_url, _BEHIND):
        yield store


async def test_workers(ahead: Store, behind: Store) -> None:
    for one, other in ((ahead, behind), (behind, ahead)):
        living = await a_worker(one)
        over = await one.workers.register(WorkerInfo(new_id("wkr"), "over"), lease_s=0)
        assert [worker.id for worker in await other.workers.lose()] == [over.id]
        assert (await other.workers.get(living.id)).state is WorkerState.ACTIVE


async def test_leaders(ahead: Store, behind: Store) -> None:
    assert await behind.leaders.lead("a", "me", lease_s=LONG_S) is not None
    assert await ahead.leaders.lead("a", "you", lease_s=LONG_S) is None
    assert await ahead.leaders.lead("b", "me", lease_s=0) is not None
    assert await behind.leaders.lead("b", "you", lease_s=LONG_S) is not None


async def test_times_of_tasks(ahead: Store, behind: Store) -> None:
    now = datetime.now(UTC)
    for one, other in ((ahead, behind), (behind, ahead)):
        later = a_task(run_at=now + timedelta(hours=1))
        due = a_task(run_at=now - timedelta(hours=1))
        overdue = a_task(deadline=now - timedelta(hours=1))
        in_time = a_task(deadline=now + timedelta(hours=1))
        await one.tasks.accept([later, due, overdue, in_time])
        await other.tasks.release_due()
        await other.tasks.end_overdue()
        states = [(await one.tasks.get(each.id)).state for each in (later, due, overdue, in_time)]
        assert states == [TaskState.SCHEDULED, TaskState.QUEUED, TaskState.DEAD, TaskState.QUEUED]


async def test_a_claim_across_hosts(ahead: Store, behind: Store) -> None:
    worker = await a_worker(behind)
    new = a_task()
    await ahead.tasks.accept([new])
    assert (await running(ahead, worker, new.id)).state is TaskState.RUNNING
    assert await ahead.workers.lose() == ()
    assert [task for task, _, _ in await behind.tasks.held(worker.id)] == [new.id]
