"""What the tests of queues share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from aetherium.interfaces.queue import Consumer, Delivery, Ticket

LANE = "worker.wrk_1"
DEADLINE_S = 30.0
# Something that would come, comes well within this.
SOON_S = 0.3


def tickets(count: int, *, rank: int = 2, first: int = 0) -> list[Ticket]:
    """Different ones, in order."""
    return [Ticket(f"task_{number}", 1, rank) for number in range(first, first + count)]


async def received(consumer: Consumer, count: int, limit: int = 100) -> list[Delivery]:
    """As many, with as many calls as it takes."""
    found: list[Delivery] = []
    async with asyncio.timeout(DEADLINE_S):
        while len(found) < count:
            found += await consumer.receive(min(limit, count - len(found)))
    return found


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    """Of their tasks."""
    return [each.ticket.task_id for each in deliveries]


async def nothing_comes(consumer: Consumer, within_s: float = SOON_S) -> None:
    """Fails if something does."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(within_s):
            raise AssertionError(await consumer.receive(1))
