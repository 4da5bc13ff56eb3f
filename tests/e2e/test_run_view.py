"""`aetherium run` and `job`, over a gateway whose jobs follow a script: what people and programs see."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from aetherium.domain.audit import AuditEvent
from aetherium.domain.executions import ExecutionResult, ExecutionState
from aetherium.domain.ids import JOB, new_id
from aetherium.domain.jobs import (
    Artifact,
    Job,
    JobEvent,
    JobSpec,
    JobState,
    PatchSummary,
    PhaseTiming,
    StepLog,
    StepOutcome,
    StepResult,
    TestSummary,
)
from aetherium.gateway.access import Services
from aetherium.gateway.server import serve_platform
from aetherium.interfaces.audit import Auditor
from aetherium.interfaces.rates import RateLimiter
from aetherium.rates.limiter import MemoryLimiter
from aetherium.services.identity.authentication import Authenticator
from aetherium.services.job_files import LocalJobFiles
from aetherium.settings import Settings
from tests.e2e.conftest import CLI, DEADLINE_S, fresh_cli

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_SCRIPT: Sequence[tuple[str, Mapping[str, object]]] = (
    ("phase", {"name": "vm", "duration_s": 0.5}),
    ("step_started", {"step": "test"}),
    ("output", {"step": "test", "stream": "stdout", "text": "to stdout"}),
    ("output", {"step": "test", "stream": "stderr", "text": "to stderr\n"}),
    ("step_finished", {"step": "test", "outcome": "failed", "exit_code": 3, "duration_s": 1.5}),
    ("tests", {"tests": 5, "failed": 1, "errors": 0, "skipped": 1}),
    ("artifact", {"name": "dist", "path": "artifacts/dist/a.txt", "size_bytes": 4}),
    ("patch", {"files": 1, "insertions": 2, "deletions": 0}),
    ("warning", {"message": "odd \x1b[31m"}),
    ("finished", {"state": "failed"}),
)


@dataclass
class ScriptedJobs:
    """Plays _SCRIPT for each job; the command ``wait`` stops in its middle until it is cancelled."""

    root: Path
    jobs: dict[str, Job] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def submit(self, spec: JobSpec, *, secrets: Mapping[str, str], **_: object) -> Job:
        self.secrets = dict(secrets)
        job = Job(new_id(JOB), spec, JobState.RUNNING, _NOW, started_at=_NOW)
        self.jobs[job.id] = job
        await asyncio.to_thread(self._write, self.directory(job.id))
        return job

    def _write(self, directory: Path) -> None:
        (directory / "artifacts" / "dist").mkdir(parents=True)
        (directory / "artifacts" / "dist" / "a.txt").write_bytes(b"data")
        (directory / "logs").mkdir()
        (directory / "logs" / "01-test.log").write_bytes(b"to stdoutto stderr\n")
        (directory / "changes.patch").write_bytes(b"diff --git\n")

    def directory(self, job_id: str) -> Path:
        return self.root / job_id

    async def logs(self, ref: str) -> Sequence[StepLog]:
        found = await LocalJobFiles(self.root).list(ref, "logs/")
        return [StepLog(each.name.removeprefix("logs/"), each.size_bytes) for each in found]

    def read(self, job_id: str, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        return LocalJobFiles(self.root).read(job_id, name, offset)

    async def get(self, ref: str) -> Job:
        return self.jobs[ref]

    async def wait(self, job_id: str) -> Job:
        return self.jobs[job_id]

    async def list(self, *, states: Sequence[JobState] = (), limit: int = 100, **_: object) -> Sequence[Job]:
        return list(self.jobs.values())[:limit]

    async def cancel(self, ref: str) -> Job:
        self.jobs[ref] = replace(self.jobs[ref], state=JobState.CANCELLED, ended_at=_NOW)
        self.cancelled.set()
        return self.jobs[ref]

    async def delete(self, ref: str) -> None:
        del self.jobs[ref]

    async def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[JobEvent]:
        job = self.jobs[job_id]
        for seq, (kind, data) in enumerate(_SCRIPT, 1):
            if job.spec.name == "wait" and kind == "step_finished":
                await self.cancelled.wait()
            if seq > after:
                yield JobEvent(seq, _NOW, kind, data)
        if job.spec.name != "wait":
            self.jobs[job_id] = _ended(job)


def _ended(job: Job) -> Job:
    result = ExecutionResult(ExecutionState.EXITED, exit_code=3, duration_s=1.5)
    return replace(
        job,
        state=JobState.FAILED,
        ended_at=_NOW,
        steps=(StepResult("test", StepOutcome.FAILED, result=result),),
        artifacts=(Artifact("dist", "artifacts/dist/a.txt", 4, "0" * 64),),
        patch=PatchSummary("c", "changes.patch", 1, 2, 0, 11),
        tests=TestSummary(5, 1, 0, 1),
        timings=(PhaseTiming("vm", 0.5),),
    )


class Unrecorded:
    """For what keeps no audit log."""

    async def record(self, event: AuditEvent) -> None:
        return

    def note(self, event: AuditEvent) -> None:
        return


@dataclass(frozen=True)
class Scripted:
    jobs: ScriptedJobs
    store: object = None
    auditor: Auditor = field(default_factory=Unrecorded)
    settings: Settings = field(default_factory=Settings)
    rates: RateLimiter = field(default_factory=MemoryLimiter)

    @property
    def authenticator(self) -> Authenticator:
        nothing: Any = None  # whoever opens the socket is known without
        return Authenticator(nothing, nothing, None, self.auditor, self.rates)


@pytest.fixture
async def scripted(tmp_path: Path) -> AsyncIterator[tuple[CLI, ScriptedJobs]]:
    async with fresh_cli() as cli:
        jobs = ScriptedJobs(tmp_path / "jobs")
        platform: Any = Scripted(jobs)
        socket = cli.data_dir / "run" / "aetherium.sock"
        async with serve_platform(cast(Services, platform), socket, grace_s=1.0):
            yield cli, jobs


async def test_people_see_steps_output_and_what_came_back(
    scripted: tuple[CLI, ScriptedJobs], tmp_path: Path
) -> None:
    cli, jobs = scripted
    out = tmp_path / "out"
    done = await cli(
        "run", "--secret", "VALUE", "--output", str(out), "--", "make", "-k", VALUE="hidden-value"
    )
    assert done.exit_code == 3, done.stderr
    assert done.stdout == b"to stdout"
    shown = done.stderr.decode()
    for text in (
        "vm (0.5s)",
        "▶ test",
        "to stderr\n",
        "exit code 3",
        "3 passed, 1 failed",
        "patch: 1 file, +2 -0",
    ):
        assert text in shown
    assert "\x1b" not in shown
    assert jobs.secrets == {"VALUE": "hidden-value"}
    (job,) = jobs.jobs.values()
    assert job.spec.steps[0].argv == ("make", "-k")
    assert job.spec.secrets == ("VALUE",)
    assert (out / "artifacts" / "dist" / "a.txt").read_bytes() == b"data"
    assert (out / "logs" / "01-test.log").read_bytes() == b"to stdoutto stderr\n"
    assert (out / "changes.patch").read_bytes() == b"diff --git\n"
    assert json.loads((out / "job.json").read_text(encoding="utf-8"))["id"] == job.id


async def test_programs_get_events_and_the_job(scripted: tuple[CLI, ScriptedJobs], tmp_path: Path) -> None:
    cli, _ = scripted
    done = await cli("run", "--json", "--patch-out", str(tmp_path / "p"), "--rm", "--", "true")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["kind"] for line in lines[:-1]] == [kind for kind, _ in _SCRIPT]
    assert lines[-1]["exit_code"] == 3
    assert lines[-1]["job"]["state"] == "failed"
    assert (tmp_path / "p").read_bytes() == b"diff --git\n"
    assert await cli.json("job", "list") == []


async def test_ctrl_c_cancels_the_job_and_waits_for_its_end(scripted: tuple[CLI, ScriptedJobs]) -> None:
    cli, jobs = scripted
    async with cli.start("run", "--", "wait") as child, asyncio.timeout(DEADLINE_S):
        assert child.stdout is not None
        assert await child.stdout.readexactly(9) == b"to stdout"
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGINT)
        assert await child.wait() == 130
    assert jobs.cancelled.is_set()


async def test_jobs_afterwards(scripted: tuple[CLI, ScriptedJobs], tmp_path: Path) -> None:
    cli, _ = scripted
    await cli("run", "--", "true")
    (job,) = await cli.json("job", "list")
    assert (await cli("job", "logs", job["id"], "--step", "true")).exit_code == 0
    assert b"to stdout" in (await cli("job", "logs", job["id"])).stdout
    assert (await cli("job", "logs", job["id"], "--step", "none")).exit_code == 2
    listed = await cli.json("job", "artifacts", job["id"])
    assert listed["artifacts"][0]["name"] == "dist"
    assert (await cli("job", "artifacts", job["id"], "--output", str(tmp_path / "a"))).exit_code == 0
    assert (tmp_path / "a" / "changes.patch").exists()
    assert b"exit code 3" in (await cli("job", "get", job["id"])).stdout
    assert (await cli.json("job", "rm", job["id"]))["removed"] == [job["id"]]
    for wrong in (("run",), ("run", "-f", "none.yaml"), ("run", "--ref", "x", "--", "true")):
        assert (await cli(*wrong)).exit_code == 2
