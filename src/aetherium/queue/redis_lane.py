"""A lane in Redis: one queue of BullMQ, whose jobs are the tickets. Tools that know BullMQ can look at it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bullmq.job import Job  # type: ignore[import-untyped]
from bullmq.scripts import raw2NextJobData  # type: ignore[import-untyped]

from aetherium.interfaces.queue import Ticket
from aetherium.queue.bullmq_engine import Calls, Engine

log = logging.getLogger(__name__)

# Calls in one round trip; Redis does nothing else meanwhile, for about 10 ms.
_BATCH = 250
# BullMQ writes a stream of events for each queue, 10,000 by default, which nobody reads here.
_EVENTS = 100
# BullMQ marks jobs that stalled more often. Whether a task fails too often is for the database to say.
_MOST_STALLS = 1_000_000
# Jobs that one call removes.
_DROPPED = 1000
_NAME = "ticket"


@dataclass(frozen=True, slots=True)
class Held:
    """A ticket that was taken, with the token of its lock."""

    key: str
    token: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What a look into the lane gave.

    Args:
        full: whether as many came as were asked for.
        waiting: how many more wait now.
        next_at: when the next delayed ticket is due (Unix time, seconds), if less came and one waits.
    """

    tickets: Sequence[Ticket]
    full: bool
    waiting: int
    next_at: float | None


@dataclass(frozen=True, slots=True)
class _Owner:
    """What a `Job` asks of its queue."""

    qualifiedName: str  # noqa: N815 - BullMQ's name
    opts: Mapping[str, Any]
    backend: None = None


class RedisLane:
    """All of its calls raise Unavailable.

    Args:
        lease_s: what was taken is locked for so long.
    """

    def __init__(self, engine: Engine, name: str, lease_s: float) -> None:
        self._engine = engine
        self._name = name
        self._lease_ms = round(lease_s * 1000)
        self._owner = _Owner(name, {"lockDuration": self._lease_ms})

    @property
    def marker(self) -> str:
        """The key of a sorted set that is filled when there is something to take: wait with BZPOPMIN."""
        return str(self._calls().scripts.keys["marker"])

    async def add(self, tickets: Sequence[Ticket], delay_s: float) -> None:
        """Append, but for those that are there already."""
        for start in range(0, len(tickets), _BATCH):
            calls = self._calls()
            calls.command("HSETNX", calls.scripts.keys["meta"], "opts.maxLenEvents", _EVENTS)
            for ticket in tickets[start : start + _BATCH]:
                await calls.scripts.addJob(self._job(ticket, delay_s))
            await self._engine.run(calls)

    async def take(self, most: int, token: str) -> Taken:
        """Lock the most urgent tickets with `token`: at most `most`, and maybe less though more wait."""
        asked = min(most, _BATCH)
        calls = self._calls()
        for _ in range(asked):
            await calls.scripts.moveToActive(token, self._owner.opts)
        calls.command("LLEN", calls.scripts.keys["wait"])
        calls.command("ZCARD", calls.scripts.keys["prioritized"])
        *looks, stalled, ranked = await self._engine.run(calls)
        jobs = [raw2NextJobData(look) for look in looks]
        found = [(key, _read(key, data)) for data, key, _, _ in jobs if data]
        await self.finish([Held(key, token) for key, ticket in found if ticket is None])
        next_ms = jobs[-1][3]
        return Taken(
            tickets=[ticket for _, ticket in found if ticket is not None],
            full=len(found) == asked,
            waiting=stalled + ranked,
            next_at=int(next_ms) / 1000 if next_ms else None,
        )

    async def finish(self, held: Sequence[Held]) -> None:
        """Remove them, but for those that somebody else holds by now."""
        for start in range(0, len(held), _BATCH):
            calls = self._calls()
            for each in held[start : start + _BATCH]:
                job = self._job(Ticket(each.key, 0), 0)
                job.id = each.key
                await calls.scripts.moveToCompleted(job, None, True, each.token, fetchNext=False)
            await self._engine.run(calls)

    async def put_back(self, held: Sequence[Held]) -> None:
        """Let them wait again, behind their rank, but for those that somebody else holds by now."""
        for start in range(0, len(held), _BATCH):
            calls = self._calls()
            for each in held[start : start + _BATCH]:
                await calls.scripts.retryJob(each.key, False, each.token)
            await self._engine.run(calls)

    async def renew(self, held: Sequence[Held]) -> Sequence[str]:
        """Lock them for another lease; the keys of those that are lost."""
        calls = self._calls()
        keys, tokens = [each.key for each in held], [each.token for each in held]
        await calls.scripts.extendJobLocks(keys, tokens, self._lease_ms)
        (lost,) = await self._engine.run(calls)
        return [str(key) for key in lost]

    async def recover(self, every_s: float) -> Sequence[str]:
        """Let those wait again, before all others, that were taken at the last call and are not locked now.

        Gives their keys. Does nothing when it was called within the last `every_s` seconds.
        """
        calls = self._calls()
        await calls.scripts.moveStalledJobsToWait(_MOST_STALLS, round(every_s * 1000))
        (recovered,) = await self._engine.run(calls)
        return [str(key) for key in recovered]

    async def depth(self) -> int:
        """All tickets, the locked ones included."""
        calls = self._calls()
        for state in ("wait", "active"):
            calls.command("LLEN", calls.scripts.keys[state])
        for state in ("prioritized", "delayed"):
            calls.command("ZCARD", calls.scripts.keys[state])
        return sum(await self._engine.run(calls))

    async def pause(self, paused: bool) -> None:
        """Whether nothing may be taken."""
        calls = self._calls()
        await calls.scripts.pause(paused)
        await self._engine.run(calls)

    async def drop(self) -> None:
        """Remove everything."""
        left = 1
        while left:
            calls = self._calls()
            await calls.scripts.pause(True)  # or it refuses
            keys = calls.scripts.getKeys(["meta", ""])
            await calls.commands["obliterate"](keys, [_DROPPED, "force"])
            left = (await self._engine.run(calls))[-1]

    def _calls(self) -> Calls:
        return self._engine.calls(self._name)

    def _job(self, ticket: Ticket, delay_s: float) -> Any:
        opts = {
            "attempts": 1,
            "delay": round(delay_s * 1000),
            "priority": ticket.rank + 1,  # 0 is none, and goes before all others
            "removeOnComplete": True,
            "removeOnFail": True,
        }
        return Job(self._owner, _NAME, asdict(ticket), opts, ticket.key)


def _read(key: str, data: Mapping[str, str]) -> Ticket | None:
    try:
        ticket = Ticket(**json.loads(data["data"]))
        if ticket.key == key:
            return ticket
    except (KeyError, TypeError, ValueError):
        pass
    log.warning("The job %s in the queue is no ticket, and is removed.", key)
    return None
