"""Faults: what is done to a cluster, and how often."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.faults.cluster.cluster import Cluster
from tests.faults.cluster.members import Member
from tests.fixtures.leftovers import working_in
from tests.fixtures.proxy import TcpProxy

# It is over when the call returns.
Blow = Callable[[Cluster, random.Random], Awaitable[None]]
# Longer than the lease of a worker: it is lost, and others go on with its tasks.
_LONG_S = 4.5


@dataclass(frozen=True, slots=True)
class Fault:
    """`blows` blows, one after the other, the first ones within a load that comes over `span_s` seconds.

    Args:
        followers: clients that meanwhile follow commands in VMs, which no blow may end.
    """

    blow: Blow
    blows: int = 3
    span_s: float = 5.0
    followers: int = 0


async def gateway(cluster: Cluster, chance: random.Random) -> None:
    """A gateway is killed and started again."""
    await _replace(chance.choice(cluster.gateways))


async def leader(cluster: Cluster, chance: random.Random) -> None:
    """The orchestrator that leads is killed and started again."""
    await _replace(await cluster.leader())


async def worker(cluster: Cluster, chance: random.Random) -> None:
    """A worker is killed and started again."""
    await _replace(chance.choice(cluster.workers))


async def guest(cluster: Cluster, chance: random.Random) -> None:
    """A VM's process is killed."""
    places = [each.data_dir / "fake" for each in cluster.workers]
    agents = await asyncio.to_thread(working_in, *places)
    if agents:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(sorted(agents)), signal.SIGKILL)


async def postgres(cluster: Cluster, chance: random.Random) -> None:
    """PostgreSQL is killed and started again."""
    await cluster.postgres.kill()


async def redis(cluster: Cluster, chance: random.Random) -> None:
    """Redis is started anew."""
    await cluster.redis.restart()


async def redis_wiped(cluster: Cluster, chance: random.Random) -> None:
    """Redis is killed and comes back with nothing."""
    await cluster.redis.kill()
    await cluster.redis.forget()
    await cluster.redis.start()


def link(
    name: str,
    disturb: Callable[[TcpProxy], object],
    lasts_s: float,
    of: str = "workers",
    followers: int = 0,
) -> Fault:
    """A process's link to `database` or `redis`, or that to a worker's `calls`, is disturbed for a while."""

    async def blow(cluster: Cluster, chance: random.Random) -> None:
        proxy: TcpProxy = getattr(chance.choice(getattr(cluster, of)), name)
        disturb(proxy)
        await asyncio.sleep(lasts_s)
        await proxy.heal()

    return Fault(blow, blows=2, span_s=2 * lasts_s + 1, followers=followers)


def calls(disturb: Callable[[TcpProxy], object], lasts_s: float) -> Fault:
    """The link between gateways and a worker is disturbed for a while."""
    return link("calls", disturb, lasts_s, followers=8)


def _cut(proxy: TcpProxy) -> None:
    proxy.refuse()
    proxy.cut()


async def _replace(member: Member) -> None:
    await member.kill()
    await member.start()


FAULTS: dict[str, Fault] = {
    "gateway killed": Fault(gateway),
    "leading orchestrator killed": Fault(leader),
    "worker killed": Fault(worker),
    "VM process killed": Fault(guest),
    "PostgreSQL killed": Fault(postgres),
    "Redis restarted": Fault(redis),
    "Redis back with nothing": Fault(redis_wiped),
    "worker to PostgreSQL cut": link("database", _cut, _LONG_S),
    "worker to PostgreSQL delayed": link("database", lambda proxy: proxy.delay(0.2), 2.0),
    "worker to PostgreSQL half-open": link("database", TcpProxy.swallow, _LONG_S),
    "worker to Redis cut": link("redis", _cut, 2.0),
    "worker to Redis delayed": link("redis", lambda proxy: proxy.delay(0.2), 2.0),
    "worker to Redis half-open": link("redis", TcpProxy.swallow, _LONG_S),
    "orchestrator to PostgreSQL half-open": link("database", TcpProxy.swallow, _LONG_S, "orchestrators"),
    "gateways to worker cut": calls(_cut, 2.0),
    "gateways to worker delayed": calls(lambda proxy: proxy.delay(0.2), 2.0),
    "gateways to worker half-open": calls(TcpProxy.swallow, _LONG_S),
}
