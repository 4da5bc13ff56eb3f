"""Delivers tickets to workers. The database is the truth; what is in a queue is only a hint.

A ticket says "worker, claim this task". Lost tickets are sent again by the orchestrator, and a ticket that
comes twice finds its task claimed; so an adapter may lose and repeat, and both shall be rare.

Each lane (``worker.<worker id>``) is read by one worker. Legal order of calls: `open` (a context manager in
the adapter's module), then any calls at once; a `Delivery` is answered by exactly one of `ack` and `release`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Ticket:
    """A hint to claim a task.

    Args:
        attempt: the attempt that the claim would begin; a task that is further on refuses it.
        rank: 0 is the most urgent; within a lane lower ranks are delivered first.
    """

    task_id: str
    attempt: int
    rank: int = 2

    @property
    def key(self) -> str:
        """What makes it the same ticket: a repeat is dropped while the first one is in the lane."""
        return f"{self.task_id}-{self.attempt}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A ticket in the hands of a consumer. `token` is the adapter's."""

    ticket: Ticket
    token: object = None


class Consumer(Protocol):
    """One lane being read."""

    async def receive(self, limit: int) -> Sequence[Delivery]:
        """Wait for tickets; at least one, at most `limit`, most urgent first, oldest first among equals.

        Never asks for more than it can hold: what is not received stays for a later call (backpressure).
        May be cancelled: what it had in hand comes at the next call.
        While the queue cannot be reached it waits and connects again; it raises nothing for that.
        """
        ...

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Done with: never to be delivered again. Harmless for what was redelivered meanwhile, and while the
        queue cannot be reached (the ticket may then come once more)."""
        ...

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Hand back: to be delivered again soon."""
        ...


class TaskQueue(Protocol):
    """Lanes of tickets. Raises Unavailable when the queue cannot be reached."""

    async def publish(self, lane: str, tickets: Sequence[Ticket], *, delay_s: float = 0.0) -> None:
        """Append to a lane, in one round trip as far as can be. Tickets whose key is there already, waiting
        or held, are dropped. `delay_s`: not delivered before."""
        ...

    def consume(self, lane: str) -> AbstractAsyncContextManager[Consumer]:
        """Read a lane. What an earlier reader received and never answered is delivered again once its lease
        (adapter's `lease_s`) has run out; a living reader's leases are renewed in the background. Leaving the
        block releases what was not answered."""
        ...

    async def depth(self, lane: str) -> int:
        """Tickets that wait or are held, delayed ones included."""
        ...

    async def pause(self, lane: str) -> None:
        """Deliver nothing more until `resume`; what was delivered goes on. Survives restarts of readers."""
        ...

    async def resume(self, lane: str) -> None: ...

    async def drop(self, lane: str) -> None:
        """Remove a lane with all its tickets, those that are held too. It is no longer paused."""
        ...

    async def ping(self) -> None:
        """Raise Unavailable unless the queue answers now."""
        ...
