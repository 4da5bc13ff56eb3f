"""What every TaskQueue has to do. Subclasses give the fixtures `queue` and `again`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from aetherium.interfaces.queue import TaskQueue, Ticket
from tests.contract.queue.reading import DEADLINE_S, LANE, ids, nothing_comes, received, tickets

# Opens the same queue once more, as another process does.
Again = Callable[[], AbstractAsyncContextManager[TaskQueue]]


class QueueContract:
    @pytest.fixture
    def queue(self) -> TaskQueue:
        raise NotImplementedError

    @pytest.fixture
    def again(self) -> Again:
        """Skips where the queue is of one process only."""
        raise NotImplementedError

    async def test_delivers_what_was_published(self, queue: TaskQueue) -> None:
        sent = [Ticket("task_a", 1, 0), Ticket("task_b", 7, 0), Ticket("täsk ü", 2, 3)]
        await queue.publish(LANE, sent)
        async with queue.consume(LANE) as consumer:
            assert [each.ticket for each in await received(consumer, 3)] == sent

    async def test_a_waiting_reader_is_woken(self, queue: TaskQueue) -> None:
        async with queue.consume(LANE) as consumer, asyncio.TaskGroup() as group:
            for number in range(3):
                waiting = group.create_task(received(consumer, 1))
                await asyncio.sleep(0)
                await queue.publish(LANE, tickets(1, first=number))
                begun = time.monotonic()
                await consumer.ack(await waiting)
                assert time.monotonic() - begun < 3  # and not by looking every few seconds

    async def test_many_calls_wait_at_once(self, queue: TaskQueue) -> None:
        async with queue.consume(LANE) as consumer, asyncio.TaskGroup() as group:
            waiting = [group.create_task(received(consumer, 1)) for _ in range(20)]
            await asyncio.sleep(0)
            await queue.publish(LANE, tickets(20))
            begun = time.monotonic()
            found = [(await each)[0] for each in waiting]
            assert time.monotonic() - begun < 3
            assert sorted(ids(found)) == sorted(ticket.task_id for ticket in tickets(20))

    async def test_the_most_urgent_first_and_the_oldest_among_equals(self, queue: TaskQueue) -> None:
        for name, rank in (("c", 3), ("b1", 2), ("a1", 0), ("b2", 2), ("a2", 0), ("z", 1)):
            await queue.publish(LANE, [Ticket(name, 1, rank)])
        async with queue.consume(LANE) as consumer:
            assert ids(await received(consumer, 6)) == ["a1", "a2", "z", "b1", "b2", "c"]

    async def test_many_at_once_stay_in_order(self, queue: TaskQueue) -> None:
        sent = tickets(1001)
        await queue.publish(LANE, sent)
        assert await queue.depth(LANE) == 1001
        async with queue.consume(LANE) as consumer:
            found = await received(consumer, 1001, limit=400)
            assert [each.ticket for each in found] == sent
            await consumer.ack(found)
        assert await queue.depth(LANE) == 0

    async def test_publishing_nothing(self, queue: TaskQueue) -> None:
        await queue.publish(LANE, [])
        assert await queue.depth(LANE) == 0

    async def test_never_more_than_asked_for(self, queue: TaskQueue) -> None:
        await queue.publish(LANE, tickets(10))
        async with queue.consume(LANE) as slow, queue.consume(LANE) as other:
            held = [*await slow.receive(1), *await slow.receive(3)]
            assert 2 <= len(held) <= 4
            # All that it did not ask for is there for others.
            rest = await received(other, 10 - len(held))
            assert sorted(ids(held) + ids(rest)) == sorted(ticket.task_id for ticket in tickets(10))
            assert await queue.depth(LANE) == 10

    async def test_what_was_acknowledged_is_gone(self, queue: TaskQueue) -> None:
        await queue.publish(LANE, tickets(3))
        async with queue.consume(LANE) as consumer:
            found = await received(consumer, 3)
            await consumer.ack(found[:2])
            assert await queue.depth(LANE) == 1
            await consumer.ack(found[2:])
            await consumer.ack(found)  # harmless
            await consumer.ack([])
        assert await queue.depth(LANE) == 0
        async with queue.consume(LANE) as consumer:
            await nothing_comes(consumer)

    async def test_what_was_acknowledged_can_be_published_again(self, queue: TaskQueue) -> None:
        async with queue.consume(LANE) as consumer:
            for _ in range(3):
                await queue.publish(LANE, tickets(1))
                await consumer.ack(await received(consumer, 1))

    async def test_what_was_released_comes_again(self, queue: TaskQueue) -> None:
        await queue.publish(LANE, tickets(2))
        async with queue.consume(LANE) as consumer:
            first = await received(consumer, 2)
            await consumer.release(first)
            second = await received(consumer, 2)
            assert ids(second) == ids(first)
            await consumer.release(first)  # harmless: these are not what it holds now
            await consumer.ack(second)
        assert await queue.depth(LANE) == 0

    async def test_what_was_not_answered_comes_again_when_the_reader_has_left(self, queue: TaskQueue) -> None:
        await queue.publish(LANE, tickets(5))
        async with queue.consume(LANE) as consumer:
            await consumer.ack((await received(consumer, 5))[:2])
        async with queue.consume(LANE) as consumer:
            assert ids(await received(consumer, 3)) == ["task_2", "task_3", "task_4"]

    async def test_an_error_leaves_the_block_as_it_is(self, queue: TaskQueue) -> None:
        await queue.publish(LANE, tickets(1))

        async def fail() -> None:
            async with queue.consume(LANE) as consumer:
                await received(consumer, 1)
                raise KeyError

        with pytest.raises(KeyError):
            await fail()
        async with queue.consume(LANE) as consumer:
            await received(consumer, 1)

    async def test_a_reader_may_leave_at_any_moment(self, queue: TaskQueue) -> None:
        await queue.publish(LANE, tickets(1))
        for moment in range(40):
            async with queue.consume(LANE) as consumer:
                call = asyncio.ensure_future(consumer.receive(1))
                for _ in range(moment):
                    await asyncio.sleep(0)
                call.cancel()
                async with asyncio.timeout(DEADLINE_S):
                    await asyncio.gather(call, return_exceptions=True)
        assert await queue.depth(LANE) == 1

    async def test_repeats_are_dropped(self, queue: TaskQueue) -> None:
        await queue.publish(LANE, tickets(2))
        await queue.publish(LANE, [*tickets(3), *tickets(3)])
        await queue.publish(LANE, tickets(1), delay_s=0.01)
        async with queue.consume(LANE) as consumer:
            found = await received(consumer, 3)
            assert ids(found) == ["task_0", "task_1", "task_2"]
            await queue.publish(LANE, [*tickets(3), Ticket("task_0", 2)])
            (other,) = await received(consumer, 1)
            assert other.ticket == Ticket("task_0", 2)
            await nothing_comes(consumer)

    async def test_a_delayed_one_comes_when_it_is_due(self, queue: TaskQueue) -> None:
        async with queue.consume(LANE) as consumer, asyncio.TaskGroup() as group:
            waiting = group.create_task(received(consumer, 2))
            begun = time.time()
            await queue.publish(LANE, [Ticket("late", 1, 0)], delay_s=0.4)
            await queue.publish(LANE, [Ticket("now", 1, 3)])
            assert await queue.depth(LANE) == 2
            assert ids(await waiting) == ["now", "late"]
            # Redis counts in milliseconds.
            assert 0.398 <= time.time() - begun < 3

    async def test_delayed_ones_in_the_order_in_which_they_are_due(self, queue: TaskQueue) -> None:
        async with queue.consume(LANE) as consumer, asyncio.TaskGroup() as group:
            waiting = group.create_task(received(consumer, 3))
            await asyncio.sleep(0)
            for delay_s in (0.5, 0.1, 0.3):
                await queue.publish(LANE, [Ticket(f"{delay_s}", 1)], delay_s=delay_s)
            assert ids(await waiting) == ["0.1", "0.3", "0.5"]

    async def test_a_paused_lane_delivers_nothing(self, queue: TaskQueue) -> None:
        await queue.publish(LANE, tickets(2))
        async with queue.consume(LANE) as consumer:
            before = await received(consumer, 1)
            await queue.pause(LANE)
            await queue.publish(LANE, tickets(1, first=2))
            await queue.publish(LANE, tickets(1, first=3), delay_s=0.01)
            await nothing_comes(consumer)
            await consumer.ack(before)
            assert await queue.depth(LANE) == 3
            waiting = asyncio.ensure_future(received(consumer, 3))
            await asyncio.sleep(0.05)  # or it would not be waiting; nothing depends on how long this is
            await queue.resume(LANE)
            assert set(ids(await waiting)) == {"task_1", "task_2", "task_3"}

    async def test_a_pause_outlives_readers(self, queue: TaskQueue) -> None:
        await queue.pause(LANE)
        async with queue.consume(LANE):
            pass
        await queue.publish(LANE, tickets(1))
        async with queue.consume(LANE) as consumer:
            await nothing_comes(consumer)
            await queue.resume(LANE)
            await received(consumer, 1)

    async def test_a_dropped_lane_is_empty(self, queue: TaskQueue) -> None:
        await queue.publish(LANE, tickets(1500))
        await queue.publish(LANE, [Ticket("delayed", 1)], delay_s=0.05)
        async with queue.consume(LANE) as consumer:
            held = await received(consumer, 2)
            await queue.pause(LANE)
            await queue.drop(LANE)
            assert await queue.depth(LANE) == 0
            await consumer.ack(held[:1])
            await consumer.release(held[1:])
            await nothing_comes(consumer)
            await queue.publish(LANE, tickets(1))
            assert ids(await received(consumer, 1)) == ["task_0"]
        await queue.drop(LANE)
        await queue.drop(LANE)
        assert await queue.depth(LANE) == 0

    async def test_a_cancelled_receive_loses_nothing(self, queue: TaskQueue) -> None:
        sent = tickets(60)
        found: list[str] = []
        async with queue.consume(LANE) as consumer:
            for number, ticket in enumerate(sent):
                call = asyncio.ensure_future(consumer.receive(10))
                await queue.publish(LANE, [ticket])
                for _ in range(number % 20):
                    await asyncio.sleep(0)
                call.cancel()
                done = (await asyncio.gather(call, return_exceptions=True))[0]
                if not isinstance(done, BaseException):
                    found += ids(done)
            found += ids(await received(consumer, len(sent) - len(found)))
        assert sorted(found) == sorted(ticket.task_id for ticket in sent)

    async def test_readers_of_one_lane_share_it(self, queue: TaskQueue) -> None:
        found: list[str] = []

        async def read() -> None:
            async with queue.consume(LANE) as consumer:
                while len(found) < 300:
                    some = await consumer.receive(7)
                    found.extend(ids(some))
                    await consumer.ack(some)

        readers = [asyncio.ensure_future(read()) for _ in range(3)]
        await queue.publish(LANE, tickets(300))
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        assert sorted(found) == sorted(ticket.task_id for ticket in tickets(300))
        assert await queue.depth(LANE) == 0

    async def test_many_lanes_at_once(self, queue: TaskQueue) -> None:
        async def read(lane: str) -> None:
            async with queue.consume(lane) as consumer:
                found = await received(consumer, 20, limit=3)
                assert ids(found) == [f"{lane}-{number}" for number in range(20)]
                await consumer.ack(found)

        async def write(lane: str) -> None:
            for start in (0, 10):
                await queue.publish(lane, [Ticket(f"{lane}-{n}", 1) for n in range(start, start + 10)])

        lanes = [f"worker.wrk_{number}" for number in range(50)]
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(read(lane))
                group.create_task(write(lane))
        assert [await queue.depth(lane) for lane in lanes] == [0] * 50

    async def test_answers(self, queue: TaskQueue) -> None:
        await queue.ping()

    async def test_another_process_has_the_same_lanes(self, queue: TaskQueue, again: Again) -> None:
        await queue.publish(LANE, tickets(2))
        async with again() as other, other.consume(LANE) as consumer:
            await consumer.ack(await received(consumer, 1))
            assert await queue.depth(LANE) == 1

    async def test_a_pause_outlives_processes(self, queue: TaskQueue, again: Again) -> None:
        async with again() as other:
            await other.pause(LANE)
        await queue.publish(LANE, tickets(1))
        async with again() as other, other.consume(LANE) as consumer:
            await nothing_comes(consumer)
            await queue.resume(LANE)
            await received(consumer, 1)
