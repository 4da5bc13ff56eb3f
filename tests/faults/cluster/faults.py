"""Faults: each is one blow to a cluster, that is over when the call returns."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.faults.cluster.cluster import Cluster
from tests.faults.cluster.members import Member
from tests.fixtures.leftovers import working_in
from tests.fixtures.proxy import TcpProxy

Fault = Callable[[Cluster, random.Random], Awaitable[None]]
# Longer than the lease of a worker: it is lost, and others go on with its tasks.
_LONG_S = 4.5


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


def link(name: str, disturb: Callable[[TcpProxy], object], lasts_s: float, of: str = "workers") -> Fault:
    """A process's link to `database` or `redis` is disturbed for a while."""

    async def fault(cluster: Cluster, chance: random.Random) -> None:
        member = chance.choice(getattr(cluster, of))
        proxy: TcpProxy = getattr(member, name)
        disturb(proxy)
        await asyncio.sleep(lasts_s)
        await proxy.heal()

    return fault


def _cut(proxy: TcpProxy) -> None:
    proxy.refuse()
    proxy.cut()


async def _replace(member: Member) -> None:
    await member.kill()
    await member.start()


FAULTS: dict[str, Fault] = {
    "gateway killed": gateway,
    "leading orchestrator killed": leader,
    "worker killed": worker,
    "VM process killed": guest,
    "PostgreSQL killed": postgres,
    "Redis restarted": redis,
    "Redis back with nothing": redis_wiped,
    "worker to PostgreSQL cut": link("database", _cut, _LONG_S),
    "worker to PostgreSQL delayed": link("database", lambda proxy: proxy.delay(0.2), 2.0),
    "worker to PostgreSQL half-open": link("database", TcpProxy.swallow, _LONG_S),
    "worker to Redis cut": link("redis", _cut, 2.0),
    "worker to Redis delayed": link("redis", lambda proxy: proxy.delay(0.2), 2.0),
    "worker to Redis half-open": link("redis", TcpProxy.swallow, _LONG_S),
    "orchestrator to PostgreSQL half-open": link("database", TcpProxy.swallow, _LONG_S, "orchestrators"),
}
