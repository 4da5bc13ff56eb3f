"""A job: a source, steps that run in a fresh VM, and what comes back.

::

    pending ⇄ running ──► succeeded   every step that counts exited with 0
       │         ├──────► failed      a step failed, or the job could not be carried out (error)
       │         ├──────► timed_out   its timeout ran out
       └─────────┴──────► cancelled

It is pending again when the worker that carried it out was lost, or handed it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from aetherium.domain.errors import InvalidInput
from aetherium.domain.executions import ExecutionResult
from aetherium.domain.lifecycle import Lifecycle
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.tasks import Priority
from aetherium.domain.vms import NetworkPolicy, Resources


class JobState(StrEnum):
    """Where a job is in its life."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


_ENDS = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.TIMED_OUT, JobState.CANCELLED})
JOB_LIFECYCLE: Lifecycle[JobState] = Lifecycle(
    "Job",
    {
        JobState.PENDING: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
        JobState.RUNNING: _ENDS | {JobState.PENDING},
        **{state: frozenset[JobState]() for state in _ENDS},
    },
)


@dataclass(frozen=True, slots=True)
class GitSource:
    """A git repository.

    Args:
        url: https, ssh, git, file URL or scp-like address; no credentials in it.
        ref: branch, tag or commit; empty: the remote's HEAD.
        depth: commits of history to fetch; None: all.
        guarded: only from an address of the internet, or of the worker's setting `git_networks`. That of
            whoever is not on the gateway's host always is.
    """

    url: str
    ref: str = ""
    depth: int | None = 1
    guarded: bool = False
    kind: Literal["git"] = "git"


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """A directory of the submitting host. In a git repository, ignored files stay behind.

    Args:
        uncommitted: take changed and untracked files as they are; False: the commit HEAD only.
        depth: commits of history that the guest sees; None: all.
    """

    path: str
    uncommitted: bool = True
    depth: int | None = 1
    kind: Literal["directory"] = "directory"


@dataclass(frozen=True, slots=True)
class BundleSource:
    """A git bundle file of the submitting host (``git bundle create``), with uncommitted changes as a patch.

    Args:
        ref: what to check out; empty: the bundle's HEAD, or its only branch.
        patch: file with a patch (``git diff --binary``) to apply on top; empty: none.
    """

    path: str
    ref: str = ""
    patch: str = ""
    kind: Literal["bundle"] = "bundle"


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """A tar (plain, gzip, bzip2, xz) or zip archive of the submitting host.

    Args:
        strip: leading path components to drop, as in tar.
    """

    path: str
    strip: int = 0
    kind: Literal["archive"] = "archive"


@dataclass(frozen=True, slots=True)
class PackedSource:
    """A source that was packed where it was submitted; it lies with the files of its job. Only the platform
    makes one.

    Args:
        commit: that it was at; empty: none.
        clean: its files are exactly those of the commit.
        warnings: what stayed behind, and why.
    """

    commit: str = ""
    clean: bool = False
    warnings: tuple[str, ...] = ()
    kind: Literal["packed"] = "packed"


@dataclass(frozen=True, slots=True)
class UploadSource:
    """A file that was uploaded before (``POST /v1/uploads``), in the same project.

    Args:
        format: ``archive``, as in ArchiveSource, or ``bundle``, as in BundleSource.
        ref: of a bundle: what to check out.
        strip: of an archive: leading path components to drop.
        commit, clean, warnings: of an archive that was packed by who submits it; see PackedSource.
    """

    upload_id: str
    format: Literal["archive", "bundle"] = "archive"
    ref: str = ""
    strip: int = 0
    commit: str = ""
    clean: bool = False
    warnings: tuple[str, ...] = ()
    kind: Literal["upload"] = "upload"


# `kind` tells them apart where they are written down as JSON.
JobSource = GitSource | DirectorySource | BundleSource | ArchiveSource | PackedSource | UploadSource


class StepCondition(StrEnum):
    """When a step runs: while all is well, only after a failure, or in any case."""

    SUCCESS = "success"
    FAILURE = "failure"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class JobStep:
    """One command of a job.

    Args:
        name: unique within the job.
        run: a script for `shell`, or
        argv: a program with arguments; exactly one of the two.
        shell: how to run a script; it is given as the last argument.
        cwd: relative to the working directory of the job, or absolute.
        timeout_s: its process group is ended after this long.
        continue_on_error: its failure does not fail the job.
        condition: the job file's ``if``.
    """

    name: str
    run: str = ""
    argv: tuple[str, ...] = ()
    shell: tuple[str, ...] = ("/bin/sh", "-e", "-c")
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] | None = None
    cwd: str = ""
    user: str | None = None
    timeout_s: float | None = None
    continue_on_error: bool = False
    condition: StepCondition = StepCondition.SUCCESS

    def __post_init__(self) -> None:
        if bool(self.run) == bool(self.argv):
            raise InvalidInput(
                f"The step {self.name!r} has {'both' if self.run else 'neither'} 'run' and 'argv'.",
                hint="Give exactly one of them.",
                field="steps",
            )


@dataclass(frozen=True, slots=True)
class ArtifactRule:
    """Files to bring back.

    Args:
        pattern: glob relative to the working directory; ``**`` crosses directories.
        name: name of the artifact; unique within the job.
        max_bytes: more than this is refused, on the host's side; None: the platform's limit.
        required: the job fails when nothing matches.
    """

    pattern: str
    name: str
    max_bytes: int | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What to do.

    Args:
        secrets: names of the secrets that steps see as environment variables; values come separately, or
            are stored ones.
        workdir: where the source goes in the guest, and the steps' working directory.
        reports: globs of JUnit XML files.
        patch: bring back the changes against the checked-out commit.
        timeout_s: for the whole job, from its start.
        attempts: how often it is begun when its worker or its VM is lost under it.
    """

    steps: tuple[JobStep, ...]
    name: str = "job"
    source: JobSource | None = None
    image: str = "base"
    driver: str = "auto"
    resources: Resources = field(default_factory=Resources)
    network: NetworkPolicy = field(default_factory=NetworkPolicy)
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    workdir: str = "/workspace"
    user: str | None = None
    artifacts: tuple[ArtifactRule, ...] = ()
    reports: tuple[str, ...] = ()
    patch: bool = True
    timeout_s: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: Priority = Priority.DEFAULT
    attempts: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= 100:
            raise InvalidInput(f"attempts is {self.attempts}.", hint="Use 1 to 100.", field="attempts")
        if not self.steps:
            raise InvalidInput("The job has no steps.", hint="Give at least one.", field="steps")
        for kind, names in (
            ("steps", [step.name for step in self.steps]),
            ("artifacts", [rule.name for rule in self.artifacts]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise InvalidInput(
                    f"Two {kind} have the name {twice[0]!r}.", hint="Give each its own.", field=kind
                )

    @property
    def secret_names(self) -> tuple[str, ...]:
        """Of all secrets that any step asks for."""
        return tuple(sorted({*self.secrets, *(name for step in self.steps for name in step.secrets or ())}))


class StepOutcome(StrEnum):
    """How a step ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of a step. `ignored`: it failed, and continue-on-error let the job go on."""

    name: str
    outcome: StepOutcome
    execution_id: str | None = None
    result: ExecutionResult | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    ignored: bool = False
    log_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StepLog:
    """A file with what a step wrote; its name is made of a number and the step's name."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a job brought back; `path` is relative to the job's directory on the host."""

    name: str
    path: str
    size_bytes: int
    sha256: str
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class FailedTest:
    """A test that failed, from a JUnit report."""

    name: str
    suite: str
    message: str


@dataclass(frozen=True, slots=True)
class TestSummary:
    """The sum of a job's JUnit reports; `failures` holds the first 50."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    tests: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0
    duration_s: float = 0.0
    failures: tuple[FailedTest, ...] = ()

    @property
    def passed(self) -> int:
        """Tests that ran and passed."""
        return self.tests - self.failed - self.errors - self.skipped


@dataclass(frozen=True, slots=True)
class PatchSummary:
    """The changes that a job made: against `commit`, with how much of the tree they touch.

    Args:
        commit: empty when the source had none: the changes are then against what was delivered.
        delta: file with the changes against what was delivered, where that differed from the commit (a
            directory with uncommitted changes, a bundle with a patch) and the job changed something.
    """

    commit: str
    path: str
    files: int
    insertions: int
    deletions: int
    size_bytes: int
    delta: str = ""


@dataclass(frozen=True, slots=True)
class PhaseTiming:
    """One phase of the job (source, vm, upload, step …, artifacts, patch) and its seconds."""

    name: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One thing that happened in a job, as kept in its journal; secret values are masked.

    Args:
        seq: counts from 1 without gaps, to resume from.
        kind: ``phase``, ``step_started``, ``output``, ``step_finished``, ``artifact``, ``patch``, ``tests``,
            ``warning`` or ``finished`` (the last).
        data: JSON types only.
    """

    seq: int
    at: datetime
    kind: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Job:
    """One job as recorded. `error_code` and `error` say why it could not be carried out; `owner` is the
    process that carries it out (see worker/owners.py), on the host of `worker_id`, as the attempt `attempt`
    of the task `task_id`."""

    id: str
    spec: JobSpec
    state: JobState
    created_at: datetime
    vm_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    commit: str = ""
    steps: tuple[StepResult, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    tests: TestSummary | None = None
    patch: PatchSummary | None = None
    timings: tuple[PhaseTiming, ...] = ()
    error_code: str = ""
    error: str = ""
    owner: str | None = None
    worker_id: str | None = None
    task_id: str | None = None
    attempt: int = 0
    project_id: str = DEFAULT_PROJECT

    @property
    def exit_code(self) -> int:
        """What ``aetherium run`` exits with: the first failed step's code, 124 for a timeout, 130 when
        cancelled, 125 when the job could not be carried out."""
        if self.state is JobState.CANCELLED:
            return 130
        if self.state is JobState.TIMED_OUT:
            return 124
        for step in self.steps:
            if step.outcome is StepOutcome.FAILED and not step.ignored and step.result is not None:
                return step.result.shell_code
        return 0 if self.state is JobState.SUCCEEDED else 125
