"""What every EventBus has to do. Subclasses give the fixtures `bus` and `again`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from aetherium.bus.mailbox import BACKLOG
from aetherium.interfaces.bus import EventBus

DEADLINE_S = 30.0
# Opens the same bus once more, as another process does.
Again = Callable[[], AbstractAsyncContextManager[EventBus]]
Heard = AsyncIterator[tuple[str, str]]


async def heard(listener: Heard, count: int) -> list[tuple[str, str]]:
    """The next ones."""
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(listener) for _ in range(count)]


class BusContract:
    @pytest.fixture
    async def bus(self) -> EventBus:
        raise NotImplementedError

    @pytest.fixture
    def again(self) -> Again:
        """Skips where the bus is of one process only."""
        raise NotImplementedError

    async def test_what_is_published_is_heard_in_order(self, bus: EventBus) -> None:
        sent = [
            ("job.1", "a"),
            ("dispatch", ""),
            ("job.1", "ü\n日本\0 with\nlines"),
            ("job.1", "x" * 100_000),
        ]
        async with bus.listen(["dispatch", "job.1"]) as listener:
            for topic, message in sent:
                await bus.publish(topic, message)
            assert await heard(listener, len(sent)) == sent

    async def test_all_who_listen_hear_it(self, bus: EventBus) -> None:
        async with bus.listen(["a"]) as one, bus.listen(["a", "b"]) as two:
            await bus.publish("a", "1")
            assert await heard(one, 1) == await heard(two, 1) == [("a", "1")]

    async def test_only_what_is_wanted(self, bus: EventBus) -> None:
        async with bus.listen(["job.1", "cancel.*"]) as listener:
            for topic in ("job.10", "job", "cancel", "job.2", "cancel.", "cancel.wrk_1", "job.1"):
                await bus.publish(topic, "!")
            found = await heard(listener, 3)
            assert found == [("cancel.", "!"), ("cancel.wrk_1", "!"), ("job.1", "!")]

    async def test_one_who_wants_all(self, bus: EventBus) -> None:
        async with bus.listen(["*"]) as listener:
            await bus.publish("anything")
            assert await heard(listener, 1) == [("anything", "")]

    async def test_one_who_wants_nothing(self, bus: EventBus) -> None:
        async with bus.listen([]) as deaf, bus.listen(["a"]) as listener:
            await bus.publish("a")
            await heard(listener, 1)  # it was handed out
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(deaf)

    async def test_what_was_published_before_is_not_heard(self, bus: EventBus) -> None:
        async with bus.listen(["a"]) as first:
            await bus.publish("a", "before")
            await heard(first, 1)  # it was handed out
            async with bus.listen(["a"]) as listener:
                await bus.publish("a", "after")
                assert await heard(listener, 1) == [("a", "after")]

    async def test_a_slow_listener_loses_the_oldest(self, bus: EventBus) -> None:
        async with bus.listen(["a"]) as slow, bus.listen(["end"]) as other:
            for number in range(BACKLOG + 5):
                await bus.publish("a", str(number))
            await bus.publish("end")
            await heard(other, 1)  # all was handed out
            found = await heard(slow, BACKLOG)
            assert [message for _, message in found] == [str(number) for number in range(5, BACKLOG + 5)]

    async def test_listening_goes_on_after_a_cancellation(self, bus: EventBus) -> None:
        async with bus.listen(["a"]) as listener:
            waiting = asyncio.ensure_future(heard(listener, 1))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await bus.publish("a", "1")
            assert await heard(listener, 1) == [("a", "1")]

    async def test_many_at_once(self, bus: EventBus) -> None:
        async def talk(topic: str) -> None:
            async with bus.listen([topic]) as listener:
                for number in range(20):
                    await bus.publish(topic, str(number))
                assert await heard(listener, 20) == [(topic, str(number)) for number in range(20)]

        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(talk(f"job.{number}"))

    async def test_other_processes_hear_it(self, bus: EventBus, again: Again) -> None:
        async with again() as other, other.listen(["a"]) as there, bus.listen(["a"]) as here:
            await bus.publish("a", "1")
            await heard(there, 1)
            await other.publish("a", "2")
            assert await heard(there, 1) == [("a", "2")]
            assert await heard(here, 2) == [("a", "1"), ("a", "2")]
