"""From when a task was accepted until it begins, while not much goes on."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from aetherium.bootstrap import open_platform
from aetherium.domain.tasks import Task
from aetherium.services.tasks import TaskService
from aetherium.settings import Settings
from bench.report import Measurement, Samples
from bench.tasks.bullmq_side import bullmq
from bench.tasks.cluster import cluster, noop
from bench.tasks.services import Services

PER_SECOND = 20
_END_S = 60.0
_SEED = 20


@dataclass
class _Side:
    """What rounds gave, in seconds."""

    middle: list[float] = field(default_factory=list)
    slowest: list[float] = field(default_factory=list)

    def add(self, seconds: Sequence[float]) -> None:
        """One round."""
        cuts = statistics.quantiles(seconds, n=100, method="inclusive")
        self.middle.append(cuts[49])
        self.slowest.append(cuts[98])

    @property
    def p50(self) -> Samples:
        return Samples(tuple(self.middle))

    @property
    def p99(self) -> Samples:
        return Samples(tuple(self.slowest))


async def latency(services: Services, count: int, repeat: int) -> AsyncIterator[Measurement]:
    """Twenty tasks per second, as they come: at random moments, the same for all sides."""
    bare, together, embedded = _Side(), _Side(), _Side()
    gaps = [random.Random(_SEED).expovariate(PER_SECOND) for _ in range(count)]
    for turn in range(repeat):
        async with bullmq(services) as engine:
            bare.add(await engine.latency(gaps))
        async with cluster(services) as where:
            together.add(await _paced(where.tasks, gaps))
        settings = Settings(data_dir=services.scratch / f"up{turn}", drivers=("fake",), pool=())
        async with open_platform(settings, background=True) as platform:
            embedded.add(await _paced(platform.tasks, gaps))
    for name, side in (("cluster", together), ("embedded", embedded)):
        yield Measurement(f"accept to start, {name}: p50", side.p50, limit=0.010)
        yield Measurement(f"accept to start, {name}: p99", side.p99, limit=0.050)
    yield Measurement("accept to start, cluster: p50", together.p50, bare.p50, "bare BullMQ")
    yield Measurement("accept to start, cluster: p99", together.p99, bare.p99, "bare BullMQ")


async def _paced(tasks: TaskService, gaps: Sequence[float]) -> list[float]:
    """Submit a task after each gap; the seconds between its acceptance and its start."""
    accepted = []
    for gap in gaps:
        await asyncio.sleep(gap)
        accepted.append(await tasks.submit(noop("paced")))
    return [_waited(await tasks.wait(task.id, timeout_s=_END_S)) for task in accepted]


def _waited(task: Task) -> float:
    assert task.started_at is not None
    return (task.started_at - task.created_at).total_seconds()
