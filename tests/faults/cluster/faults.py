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


async def agent(cluster: Cluster, chance: random.Random) -> None:
    """The agent of a VM is killed, which over the fake driver is all of it."""
    await _end_one(cluster, "fake", "aetherium.guest", chance)


async def qemu(cluster: Cluster, chance: random.Random) -> None:
    """A VM's QEMU process is killed, be the VM a job's, somebody's, or just being made."""
    await _end_one(cluster, "vms", "qemu", chance)


async def _end_one(cluster: Cluster, place: str, program: str, chance: random.Random) -> None:
    places = [each.data_dir / place for each in cluster.workers]
    found = await asyncio.to_thread(working_in, *places)
    running = sorted(pid for pid, line in found.items() if program in line)
    if running:
        with suppress(ProcessLookupError):
            os.kill(chance.choice(running), signal.SIGKILL)


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


def _cut(proxy: TcpProxy) -> None:
    proxy.refuse()
    proxy.cut()


async def _replace(member: Member) -> None:
    await member.kill()
    await member.start()


# Two of them last longer than the lease of a worker: it is lost, and others go on with its tasks.
_WAYS: tuple[tuple[str, Callable[[TcpProxy], object], float], ...] = (
    ("cut", _cut, 4.5),
    ("delayed", lambda proxy: proxy.delay(0.2), 2.0),
    ("half-open", TcpProxy.swallow, 4.5),
)
FAULTS: dict[str, Fault] = {
    "gateway killed": Fault(gateway),
    "leading orchestrator killed": Fault(leader),
    "worker killed": Fault(worker),
    "guest agent killed": Fault(agent),
    "PostgreSQL killed": Fault(postgres),
    "Redis restarted": Fault(redis),
    "Redis back with nothing": Fault(redis_wiped),
    **{
        f"{who} to {what} {how}": link(name, disturb, lasts_s, of=f"{who}s")
        for who in ("worker", "orchestrator", "gateway")
        for what, name in (("PostgreSQL", "database"), ("Redis", "redis"))
        for how, disturb, lasts_s in _WAYS
    },
    **{
        f"gateways to worker {how}": link("calls", disturb, lasts_s, followers=8)
        for how, disturb, lasts_s in _WAYS
    },
}
# For a cluster whose workers have real VMs.
QEMU_KILLED = Fault(qemu, blows=12, span_s=15.0)
