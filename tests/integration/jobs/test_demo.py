"""The jobs of examples/ in real microVMs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium import jobfile
from aetherium.bootstrap import Platform
from aetherium.domain.jobs import GitSource, JobSpec, JobState, JobStep
from aetherium.images.store import DiskImageStore
from aetherium.services.jobs import JobService
from tests.fixtures.platform import data_dir, qemu_platform
from tests.integration.jobs.carrying import output
from tests.unit.jobs.trees import content, git, repository

__all__ = ["data_dir"]
EXAMPLES = Path(__file__).parents[3] / "examples" / "jobs"

pytestmark = pytest.mark.vm


@pytest.fixture
async def platform(data_dir: Path, base_image_store: DiskImageStore) -> AsyncIterator[Platform]:
    async with qemu_platform(data_dir, base_image_store, background=False) as made:
        yield made


@pytest.fixture
def service(platform: Platform) -> JobService:
    return platform.jobs


async def test_the_demo(service: JobService, platform: Platform) -> None:
    job = await service.submit(jobfile.load(EXAMPLES / "demo.yaml"))
    events = [event async for event in service.events(job.id)]
    job = await service.get(job.id)
    assert job.state is JobState.SUCCEEDED, (job.error, output(events))
    assert job.tests is not None
    assert job.tests.passed > 50
    assert job.patch is not None
    assert [artifact.path for artifact in job.artifacts] == ["artifacts/report.xml"]
    assert await platform.vms.list() == []


async def test_a_repository_there_and_back(service: JobService, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    commit = await repository(origin, {"a.txt": b"one\n", "gone": b"x"})
    script = (
        "id -un; git status --porcelain; git rev-parse HEAD; echo two >> a.txt; rm gone; cp /bin/true ./new"
    )
    steps = (
        JobStep("as the default user", run=script),
        JobStep("as root", run="git log -1 --format=%s; id -un", user="root"),
    )
    job = await service.submit(JobSpec(steps, source=GitSource(str(origin))))
    events = [event async for event in service.events(job.id)]
    job = await service.get(job.id)
    assert job.state is JobState.SUCCEEDED, (job.error, output(events))
    assert output(events, "as the default user") == f"agent\n{commit}\n"
    assert output(events, "as root").startswith("change\n")
    patch = service.directory(job.id) / "changes.patch"
    await git(origin, "apply", "--check", str(patch))
    await git(origin, "apply", str(patch))
    assert {*content(origin)} == {b"a.txt", b"new"}
    assert content(origin)[b"new"][0] == "program"
