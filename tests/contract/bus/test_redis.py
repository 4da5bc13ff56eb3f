"""The bus over Redis: the contract, and what happens when Redis or the network fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from aetherium.bus.redis import open_redis_bus
from aetherium.domain.errors import InvalidInput
from aetherium.interfaces.bus import EventBus
from tests.contract.bus.contract import DEADLINE_S, Again, BusContract, Heard, heard
from tests.fixtures.proxy import StartProxy
from tests.fixtures.redis import RedisServer
from tests.fixtures.waiting import eventually


@pytest.fixture
async def bus(redis_server: RedisServer, redis_prefix: str) -> AsyncIterator[EventBus]:
    async with open_redis_bus(redis_server.url, prefix=redis_prefix) as bus:
        yield bus


@pytest.fixture
async def server(redis_server: RedisServer) -> AsyncIterator[RedisServer]:
    """The same, for tests that end it: others find it running."""
    try:
        yield redis_server
    finally:
        await redis_server.restart()


@pytest.fixture(autouse=True)
async def no_connection_left(redis_server: RedisServer, no_task_left: None) -> AsyncIterator[None]:
    yield

    async def alone() -> bool:
        return len((await redis_server.execute("CLIENT", "LIST")).splitlines()) == 1

    await eventually(alone)


async def until(listener: Heard, wanted: tuple[str, str]) -> None:
    """Returns when it is heard."""
    async with asyncio.timeout(DEADLINE_S):
        while await anext(listener) != wanted:
            pass


class TestRedisBus(BusContract):
    @pytest.fixture
    def bus(self, bus: EventBus) -> EventBus:
        return bus

    @pytest.fixture
    def again(self, redis_server: RedisServer, redis_prefix: str) -> Again:
        return partial(open_redis_bus, redis_server.url, prefix=redis_prefix)


async def test_listeners_hear_that_they_may_have_missed_something(bus: EventBus, server: RedisServer) -> None:
    async with bus.listen(["b", "a", "job.*"]) as listener:
        await server.kill()
        await bus.publish("a", "lost")
        await server.start()
        assert await heard(listener, 2) == [("a", ""), ("b", "")]
        await bus.publish("job.1", "again")
        assert await heard(listener, 1) == [("job.1", "again")]


async def test_a_connection_that_is_cut(
    redis_server: RedisServer, redis_prefix: str, tcp_proxy: StartProxy
) -> None:
    proxy = await tcp_proxy(redis_server.address)
    url = proxy.in_front_of(redis_server.url)
    async with open_redis_bus(url, prefix=redis_prefix) as bus, bus.listen(["a"]) as listener:
        for number in range(3):
            proxy.cut()
            await until(listener, ("a", ""))
            await bus.publish("a", str(number))
            await until(listener, ("a", str(number)))


async def test_a_connection_that_died_silently(
    redis_server: RedisServer, redis_prefix: str, tcp_proxy: StartProxy
) -> None:
    proxy = await tcp_proxy(redis_server.address)
    url = proxy.in_front_of(redis_server.url)
    async with (
        open_redis_bus(url, prefix=redis_prefix, quiet_s=0.2) as bus,
        open_redis_bus(redis_server.url, prefix=redis_prefix) as near,
        bus.listen(["a"]) as listener,
    ):
        before = proxy.connections
        proxy.swallow()
        await bus.publish("a", "lost")  # returns, though nobody answers

        async def tried_again() -> bool:
            return proxy.connections > before + 1

        await eventually(tried_again, within_s=DEADLINE_S)
        await proxy.heal()
        await until(listener, ("a", ""))
        await near.publish("a", "1")
        await until(listener, ("a", "1"))


async def test_a_quiet_connection_is_kept(
    redis_server: RedisServer, redis_prefix: str, tcp_proxy: StartProxy
) -> None:
    proxy = await tcp_proxy(redis_server.address)
    url = proxy.in_front_of(redis_server.url)
    async with open_redis_bus(url, prefix=redis_prefix, quiet_s=0.1) as bus, bus.listen(["a"]) as listener:
        begun = proxy.connections
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):  # ten times as long as it takes to be given up
                await anext(listener)
        assert proxy.connections == begun


async def test_it_opens_while_redis_is_down(server: RedisServer, redis_prefix: str) -> None:
    await server.kill()
    async with open_redis_bus(server.url, prefix=redis_prefix) as bus, bus.listen(["a"]) as listener:
        await bus.publish("a", "lost")
        await server.start()
        assert await heard(listener, 1) == [("a", "")]
        await bus.publish("a", "1")
        assert await heard(listener, 1) == [("a", "1")]


async def test_a_bus_that_never_worked_is_closed(server: RedisServer, redis_prefix: str) -> None:
    await server.kill()
    async with open_redis_bus(server.url, prefix=redis_prefix) as bus:
        await bus.publish("a")
    await server.start()


async def test_prefixes_keep_installations_apart(bus: EventBus, redis_server: RedisServer) -> None:
    async with (
        open_redis_bus(redis_server.url, prefix="other") as other,
        bus.listen(["a"]) as listener,
        other.listen(["a"]) as there,
    ):
        await other.publish("a", "theirs")
        await heard(there, 1)
        await bus.publish("a", "ours")
        assert await heard(listener, 1) == [("a", "ours")]


async def test_bytes_that_are_no_text(bus: EventBus, redis_server: RedisServer, redis_prefix: str) -> None:
    async with bus.listen(["a"]) as listener:
        for line in ("", "a", "\udcff"):
            data = line.encode(errors="surrogateescape")
            await redis_server.execute("PUBLISH", f"{redis_prefix}:bus", data)
        assert await heard(listener, 1) == [("a", "")]
        await bus.publish("a", "1")
        assert await heard(listener, 1) == [("a", "1")]


@pytest.mark.parametrize("url", ["", "http://secret@host", "redis://:secret@host:port/0"])
async def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await open_redis_bus(url).__aenter__()
    assert "secret" not in str(caught.value)
