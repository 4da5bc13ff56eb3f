"""The queue over Redis: the contract, and what happens when Redis, a reader or the network fails."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from aetherium.domain.errors import InvalidInput, Unavailable
from aetherium.interfaces.queue import TaskQueue, Ticket
from aetherium.process import spawned
from aetherium.queue.redis import open_redis_queue
from tests.contract.queue.contract import Again, QueueContract
from tests.contract.queue.reading import DEADLINE_S, LANE, ids, nothing_comes, received, tickets
from tests.fixtures.proxy import TcpProxy
from tests.fixtures.redis import RedisServer
from tests.fixtures.waiting import eventually

# Long enough that a busy machine does not look dead.
LEASE_S = 2.0


@pytest.fixture
async def queue(redis_server: RedisServer, redis_prefix: str) -> AsyncIterator[TaskQueue]:
    async with open_redis_queue(redis_server.url, prefix=redis_prefix, lease_s=LEASE_S) as queue:
        yield queue


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
        return len((await redis_server.execute("CLIENT", "LIST", "TYPE", "NORMAL")).splitlines()) == 1

    await eventually(alone)


class TestRedisQueue(QueueContract):
    @pytest.fixture
    def queue(self, queue: TaskQueue) -> TaskQueue:
        return queue

    @pytest.fixture
    def again(self, redis_server: RedisServer, redis_prefix: str) -> Again:
        return partial(open_redis_queue, redis_server.url, prefix=redis_prefix, lease_s=LEASE_S)


async def test_a_killed_reader(queue: TaskQueue, redis_server: RedisServer, redis_prefix: str) -> None:
    await queue.publish(LANE, tickets(4))
    worker = [sys.executable, "-m", "tests.contract.queue.process"]
    worker += [redis_server.url, redis_prefix, str(LEASE_S), LANE, "3"]
    async with spawned(worker, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            assert await process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        await process.wait()
    killed = time.monotonic()
    async with queue.consume(LANE) as consumer:
        assert ids(await received(consumer, 1)) == ["task_3"]
        found = await received(consumer, 3)
        # The lease was renewed up to half a lease before the end.
        assert time.monotonic() - killed >= LEASE_S / 2
        assert sorted(ids(found)) == ["task_0", "task_1", "task_2"]
        await consumer.ack(found)
        assert await queue.depth(LANE) == 1


async def test_a_living_reader_keeps_what_it_holds(queue: TaskQueue) -> None:
    await queue.publish(LANE, tickets(3))
    async with queue.consume(LANE) as slow, queue.consume(LANE) as other:
        held = await received(slow, 3)
        await nothing_comes(other, LEASE_S * 1.6)
        await slow.ack(held)
        assert await queue.depth(LANE) == 0


async def test_the_late_answer_of_a_reader_that_was_thought_dead(
    redis_server: RedisServer, redis_prefix: str, tcp_proxy: Callable[..., Awaitable[TcpProxy]]
) -> None:
    proxy = await tcp_proxy(redis_server.address)
    opened = partial(open_redis_queue, prefix=redis_prefix, lease_s=LEASE_S)
    async with (
        opened(proxy.in_front_of(redis_server.url)) as far,
        opened(redis_server.url) as near,
        far.consume(LANE) as late,
    ):
        await near.publish(LANE, tickets(2))
        held = await received(late, 2)
        proxy.cut()
        proxy.refuse()
        async with near.consume(LANE) as heir:
            inherited = await received(heir, 2)
            await proxy.heal()
            await late.ack(held[:1])
            await late.release(held[1:])
            assert await near.depth(LANE) == 2
            await heir.ack(inherited)
        assert await near.depth(LANE) == 0


async def test_redis_is_killed_and_comes_back(queue: TaskQueue, server: RedisServer) -> None:
    await queue.publish(LANE, tickets(3))
    async with queue.consume(LANE) as consumer, queue.consume("worker.idle") as idle:
        held = await received(consumer, 1)
        waiting = asyncio.ensure_future(received(idle, 1))
        await server.kill()
        for call in (
            queue.ping(),
            queue.publish(LANE, tickets(1)),
            queue.depth(LANE),
            queue.pause(LANE),
            queue.resume(LANE),
            queue.drop(LANE),
        ):
            with pytest.raises(Unavailable):
                await call
        await server.start()
        await queue.ping()
        await consumer.ack(held)
        assert ids(await received(consumer, 2)) == ["task_1", "task_2"]
        await queue.publish("worker.idle", tickets(1))
        await waiting
    assert await queue.depth(LANE) == 2


async def test_answers_while_redis_is_down_are_harmless(queue: TaskQueue, server: RedisServer) -> None:
    await queue.publish(LANE, tickets(2))
    async with queue.consume(LANE) as consumer:
        held = await received(consumer, 2)
        await server.kill()
        await consumer.ack(held[:1])
        await consumer.release(held[1:])
        await server.start()
        assert sorted(ids(await received(consumer, 2))) == ["task_0", "task_1"]


@pytest.mark.parametrize("restarted", [False, True], ids=["flushed", "restarted empty"])
async def test_redis_has_forgotten_everything(queue: TaskQueue, server: RedisServer, restarted: bool) -> None:
    await queue.publish(LANE, tickets(5))
    async with queue.consume(LANE) as consumer, queue.consume("worker.idle") as idle:
        held = await received(consumer, 2)
        waiting = asyncio.ensure_future(received(idle, 1))
        if restarted:
            await server.kill()
            await server.forget()
            await server.start()
        else:
            await server.flush()
        assert await queue.depth(LANE) == 0
        await consumer.ack(held)
        await queue.publish("worker.idle", tickets(1))
        await waiting
        # The orchestrator sends again what was lost.
        await queue.publish(LANE, tickets(5))
        found = await received(consumer, 5)
        await consumer.ack(found)
    assert await queue.depth(LANE) == 0


async def test_nothing_is_lost_for_good_while_redis_comes_and_goes(
    queue: TaskQueue, server: RedisServer
) -> None:
    """What is not done is published again, as the orchestrator does."""
    sent = tickets(400)
    done: set[str] = set()

    async def publish() -> None:
        while left := [ticket for ticket in sent if ticket.task_id not in done]:
            try:
                await queue.publish(LANE, left[:50])
            except Unavailable:
                await asyncio.sleep(0.01)

    async def read() -> None:
        async with queue.consume(LANE) as consumer:
            while len(done) < len(sent):
                some = await consumer.receive(8)
                done.update(ids(some))
                await consumer.ack(some)

    async def disturb() -> None:
        for mark in (50, 150, 250):
            await eventually(partial(_more, done, mark), within_s=DEADLINE_S)
            await server.kill()
            await server.start()

    async with asyncio.timeout(3 * DEADLINE_S), asyncio.TaskGroup() as group:
        reader = group.create_task(read())
        group.create_task(publish())
        group.create_task(disturb())
        await eventually(partial(_more, done, len(sent)), within_s=3 * DEADLINE_S)
        reader.cancel()
    assert done == {ticket.task_id for ticket in sent}


async def _more(done: set[str], mark: int) -> bool:
    return len(done) >= mark


async def test_a_line_that_is_cut_again_and_again(
    redis_server: RedisServer, redis_prefix: str, tcp_proxy: Callable[..., Awaitable[TcpProxy]]
) -> None:
    proxy = await tcp_proxy(redis_server.address)
    url = proxy.in_front_of(redis_server.url)
    found: set[str] = set()
    async with (
        open_redis_queue(redis_server.url, prefix=redis_prefix) as near,
        open_redis_queue(url, prefix=redis_prefix, lease_s=LEASE_S) as far,
        far.consume(LANE) as consumer,
    ):
        await near.publish(LANE, tickets(100))
        async with asyncio.timeout(DEADLINE_S):
            while len(found) < 100:
                some = await consumer.receive(10)
                found.update(ids(some))
                await consumer.ack(some)
                if len(found) % 3 == 0:
                    proxy.cut()


async def test_a_job_that_is_no_ticket_is_removed(
    queue: TaskQueue, redis_server: RedisServer, redis_prefix: str
) -> None:
    await queue.publish(LANE, tickets(4))
    for number, data in enumerate(("nonsense", '{"task_id": "other", "attempt": 1}', '{"x": 1}')):
        await redis_server.execute("HSET", f"{redis_prefix}:queue:{LANE}:task_{number}-1", "data", data)
    async with queue.consume(LANE) as consumer:
        assert ids(await received(consumer, 1)) == ["task_3"]
        assert await queue.depth(LANE) == 1


async def test_prefixes_keep_installations_apart(queue: TaskQueue, redis_server: RedisServer) -> None:
    await queue.publish(LANE, [Ticket("ours", 1)])
    async with open_redis_queue(redis_server.url, prefix="other") as other:
        assert await other.depth(LANE) == 0
        await other.pause(LANE)
        await other.drop(LANE)
    assert await queue.depth(LANE) == 1


async def test_a_dropped_lane_leaves_no_key(
    queue: TaskQueue, redis_server: RedisServer, redis_prefix: str
) -> None:
    await queue.publish(LANE, tickets(3))
    async with queue.consume(LANE) as consumer:
        await received(consumer, 2)
    await queue.drop(LANE)
    assert await redis_server.execute("KEYS", f"{redis_prefix}:*") == []


async def test_a_wrong_password(redis_server: RedisServer) -> None:
    wrong = redis_server.url.replace("redis://:", "redis://:not-")
    async with open_redis_queue(wrong) as queue:
        with pytest.raises(Unavailable) as caught:
            await queue.ping()
    assert "not-" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "http://secret@host", "redis://:secret@host:port/0"])
async def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await open_redis_queue(url).__aenter__()
    assert "secret" not in str(caught.value)
