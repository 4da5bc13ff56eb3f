"""The log of events, read and followed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from aetherium.domain.events import Event
from aetherium.services import events as module
from aetherium.services.events import EventService
from tests.contract.store.events import an_event
from tests.fixtures.waiting import eventually
from tests.unit.services.conftest import Services


async def emit(services: Services, *types: str) -> None:
    await services.store.events.emit([an_event(each) for each in types])
    await services.relay()


async def take(events: AsyncIterator[Event], count: int) -> list[int]:
    async with asyncio.timeout(10):
        return [(await anext(events)).seq for _ in range(count)]


async def test_it_is_read_over_pages_to_its_end(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 2)
    await emit(services, *["vm.running"] * 5, "task.dead")
    async with services.events.read(after=1) as events:
        assert [event.seq async for event in events] == [2, 3, 4, 5, 6]
    async with services.events.read(types={"vm.*"}) as events:
        assert [event.seq async for event in events] == [1, 2, 3, 4, 5]


async def test_what_comes_later_is_followed_once_each(services: Services) -> None:
    await emit(services, "vm.running", "task.dead", "vm.stopped")
    async with services.events.follow(after=1) as events:
        assert await take(events, 2) == [2, 3]
        for seq in (4, 5):
            following = asyncio.ensure_future(take(events, 1))
            await emit(services, "vm.running")
            assert await following == [seq]


async def test_a_lost_hint_costs_a_look(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0.01)
    async with services.events.follow() as events:
        following = asyncio.ensure_future(take(events, 1))
        await asyncio.sleep(0)
        monkeypatch.setattr(type(services.bus), "publish", _lost)
        await emit(services, "vm.running")
        assert await following == [1]


async def test_many_who_wait_look_together(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0.1)
    looks, last = 0, services.store.events.last

    async def counted() -> int:
        nonlocal looks
        looks += 1
        return await last()

    async def looked() -> bool:
        return looks > 2

    monkeypatch.setattr(services.store.events, "last", counted)
    log = EventService(services.store, services.bus)
    begun = time.monotonic()
    async with AsyncExitStack() as stack:
        events = [await stack.enter_async_context(log.of_project("default").follow()) for _ in range(50)]
        followers = [asyncio.ensure_future(take(each, 1)) for each in events]
        await eventually(looked)
        monkeypatch.setattr(type(services.bus), "publish", _lost)
        await emit(services, "vm.running")
        assert await asyncio.gather(*followers) == [[1]] * 50
    assert looks <= (time.monotonic() - begun) / 0.05 + 1


async def _lost(*_: object) -> None:
    return None


async def test_other_types_are_passed_over(services: Services) -> None:
    await emit(services, "vm.running")
    async with services.events.follow(types={"task.*"}) as events:
        following = asyncio.ensure_future(take(events, 1))
        await emit(services, "vm.stopped")
        await emit(services, "task.dead")
        assert await following == [3]


@pytest.mark.parametrize(
    ("count", "types", "begin"),
    [(0, (), 6), (2, (), 4), (9, (), 0), (1, ("task.*",), 1), (2, ("task.*",), 0), (3, ("vm.*",), 3)],
)
async def test_where_the_newest_begin(
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    types: tuple[str, ...],
    begin: int,
) -> None:
    monkeypatch.setattr(module, "_WINDOW", 2)
    await emit(services, "task.dead", "task.dead", *["vm.running"] * 4)
    before = await services.events.before_newest(count, types=types)
    assert [event.seq for event in await services.events.list(after=before, types=types)] == [
        event.seq for event in await services.events.list(after=begin, types=types)
    ]


async def test_an_empty_log_ends(services: Services) -> None:
    assert await services.events.last() == await services.events.before_newest(5) == 0
    async with services.events.read() as events:
        assert [event async for event in events] == []
