"""Stored secrets in jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aetherium.domain.errors import NotFound
from aetherium.domain.jobs import JobState, JobStep
from aetherium.domain.secrets import SecretScope
from tests.fixtures.platform import data_dir
from tests.fixtures.waiting import eventually
from tests.integration.jobs.carrying import Jobs, fake_jobs, output

__all__ = ["data_dir"]

VALUE = "stored-value-of-mine"
REPORT = '<testsuite><testcase name="a"><failure message="VALUE"/></testcase></testsuite>'


@pytest.fixture
async def jobs(data_dir: Path, tmp_path: Path) -> AsyncIterator[Jobs]:
    async with fake_jobs(data_dir, tmp_path) as jobs:
        yield jobs


async def test_steps_see_what_they_ask_for_and_nobody_reads_it(jobs: Jobs) -> None:
    await jobs.platform.secrets.set("TOKEN", VALUE)
    await jobs.platform.secrets.set("KEY", "another-value")
    spec = jobs.spec(
        JobStep("all", run='echo "$TOKEN"; echo "$TOKEN" > kept; echo "${#TOKEN} ${#KEY}"'),
        JobStep("none", run='echo "[$TOKEN]"; cat kept', secrets=()),
        JobStep("one", run='echo "${#TOKEN} ${#KEY}"', secrets=("KEY",)),
        JobStep("report", run=f"echo '{REPORT}' | sed \"s/VALUE/$TOKEN/\" > r.xml"),
        secrets=("TOKEN",),
        reports=("r.xml",),
        patch=False,
    )
    job, events = await jobs.succeed(spec)
    stars = "*" * len(VALUE)
    assert output(events, "all") == f"{stars}\n{len(VALUE)} 0\n"
    assert output(events, "none") == f"[]\n{stars}\n"
    assert output(events, "one") == "0 13\n"
    assert job.tests is not None
    assert job.tests.failures[0].message == stars
    assert VALUE not in repr((job, events))
    for path in jobs.service.directory(job.id).rglob("*"):
        assert not path.is_file() or VALUE not in path.read_text()
    assert (await jobs.platform.secrets.get("TOKEN")).used_at is not None


async def test_what_the_submitter_gives_goes_first(jobs: Jobs) -> None:
    await jobs.platform.secrets.set("TOKEN", VALUE)
    await jobs.platform.secrets.set("KEY", VALUE)
    spec = jobs.spec('echo "${#TOKEN} ${#KEY}"', secrets=("TOKEN", "KEY"))
    _, events = await jobs.succeed(spec, TOKEN=VALUE[:10])
    assert output(events) == f"10 {len(VALUE)}\n"
    assert (await jobs.platform.secrets.get("TOKEN")).used_at is None


async def test_the_narrowest_scope_of_a_job(jobs: Jobs) -> None:
    secrets = jobs.platform.secrets
    await secrets.set("TOKEN", "12345", scope=SecretScope.JOB, target="nightly")
    await secrets.set("TOKEN", "1234", scope=SecretScope.JOB, target="weekly")
    await secrets.set("TOKEN", "123", scope=SecretScope.IMAGE, target="base")
    for name, length in (("nightly", 5), ("weekly", 4), ("other", 3)):
        _, events = await jobs.succeed(jobs.spec('echo "${#TOKEN}"', name=name, secrets=("TOKEN",)))
        assert output(events) == f"{length}\n", name


async def test_one_that_nobody_has_set_is_refused(jobs: Jobs) -> None:
    await jobs.platform.secrets.set("TOKEN", VALUE, scope=SecretScope.JOB, target="another")
    with pytest.raises(NotFound, match="job 'mine' named 'TOKEN'"):
        await jobs.run(jobs.spec("true", name="mine", secrets=("TOKEN",)))
    assert await jobs.service.list() == []


async def test_one_that_is_gone_when_the_job_begins_fails_it_before_its_vm(
    jobs: Jobs, tmp_path: Path
) -> None:
    """It is there for another image only, which is known when the job begins."""
    await jobs.platform.secrets.set("TOKEN", VALUE, scope=SecretScope.IMAGE, target="another")
    trace = tmp_path / "trace"
    job, _ = await jobs.run(jobs.spec(f"touch {trace}", secrets=("TOKEN",)))
    assert (job.state, job.error_code) == (JobState.FAILED, "not_found")
    assert "TOKEN" in job.error
    assert (job.vm_id, job.steps) == (None, ())
    assert not trace.exists()


async def test_the_steps_of_a_job_see_one_version(jobs: Jobs, tmp_path: Path) -> None:
    await jobs.platform.secrets.set("TOKEN", "first")
    first, go = tmp_path / "first", tmp_path / "go"
    spec = jobs.spec(
        JobStep("before", run=f"touch {first}; until [ -e {go} ]; do sleep 0.01; done"),
        JobStep("after", run='echo "${#TOKEN}"'),
        secrets=("TOKEN",),
    )
    running = asyncio.ensure_future(jobs.succeed(spec))

    async def begun() -> bool:
        return first.exists()

    await eventually(begun)
    await jobs.platform.secrets.set("TOKEN", "the second value")
    go.touch()
    _, events = await running
    assert output(events, "after") == "5\n"
