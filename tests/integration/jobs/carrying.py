"""Jobs over a platform for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aetherium.bootstrap import Platform
from aetherium.domain.jobs import Job, JobEvent, JobSpec, JobState, JobStep
from aetherium.services.jobs import JobService
from tests.fixtures.platform import fake_platform


@dataclass(frozen=True, slots=True)
class Jobs:
    """Jobs whose VMs are processes: their workdir is a directory of this host."""

    platform: Platform
    service: JobService
    root: Path

    def spec(self, *steps: JobStep | str, **fields: Any) -> JobSpec:
        """A job of those steps; text is a script."""
        full = [
            step if isinstance(step, JobStep) else JobStep(f"s{n}", run=step)
            for n, step in enumerate(steps, 1)
        ]
        return JobSpec(**{"steps": tuple(full), "workdir": str(self.root / "work"), **fields})

    async def run(self, spec: JobSpec, **secrets: str) -> tuple[Job, list[JobEvent]]:
        """Carry out a job: how it ended, and its events."""
        job = await self.service.submit(spec, secrets=secrets)
        events = [event async for event in self.service.events(job.id)]
        return await self.service.get(job.id), events

    async def succeed(self, spec: JobSpec, **secrets: str) -> tuple[Job, list[JobEvent]]:
        """Like `run`, for a job that has to succeed."""
        job, events = await self.run(spec, **secrets)
        assert job.state is JobState.SUCCEEDED, (job.error, output(events))
        return job, events


@asynccontextmanager
async def fake_jobs(
    data_dir: Path, root: Path, *, background: bool = False, **settings: Any
) -> AsyncIterator[Jobs]:
    """Over the fake driver."""
    scratch = str(root / "private")
    async with fake_platform(data_dir, background=background, guest_scratch=scratch, **settings) as platform:
        yield Jobs(platform, platform.jobs, root)


def output(events: list[JobEvent], step: str = "") -> str:
    """What the steps have written."""
    found = [event.data for event in events if event.kind == "output"]
    return "".join(str(data["text"]) for data in found if not step or data["step"] == step)


def warnings(events: list[JobEvent]) -> str:
    """All warnings, one per line."""
    return "\n".join(str(event.data["message"]) for event in events if event.kind == "warning")
