"""An example of each thing that requests and answers carry, by the name of its schema. Answers are made of
domain values, as the real ones are, so that they cannot be of another form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from aetherium import __version__
from aetherium.domain.audit import AuditEntry, AuditEvent, AuditHead, AuditVerification
from aetherium.domain.checks import Check
from aetherium.domain.executions import Execution, ExecutionResult, ExecutionSpec, ExecutionState, ResourceUse
from aetherium.domain.guest import FileKind, FileStat, GuestMetrics
from aetherium.domain.identity import APIKey, Member, Role, WhoAmI
from aetherium.domain.images import Image
from aetherium.domain.jobs import (
    Artifact,
    GitSource,
    Job,
    JobSpec,
    JobState,
    JobStep,
    PatchSummary,
    StepLog,
    StepOutcome,
    StepResult,
    TestSummary,
)
from aetherium.domain.projects import Project, Quota
from aetherium.domain.queues import Queue
from aetherium.domain.schedules import Schedule, ScheduleSpec
from aetherium.domain.secrets import KeyRotation, Secret, SecretScope
from aetherium.domain.snapshots import Snapshot, SnapshotState
from aetherium.domain.task_types import TaskTypeInfo
from aetherium.domain.tasks import Attempt, Priority, Retry, Task, TaskSpec, TaskState
from aetherium.domain.uploads import Upload
from aetherium.domain.vms import VM, Resources, VMMetrics, VMSpec, VMState
from aetherium.domain.workers import Capacity, Usage, Worker, WorkerInfo, WorkerState, WorkerStatus
from aetherium.gateway import wire
from aetherium.gateway.rest.answers import (
    Alive,
    AuditKey,
    Bytes,
    Changed,
    Checksum,
    Freed,
    Ran,
    Ready,
    Written,
)
from aetherium.interfaces.pool import PoolLevel
from aetherium.services.identity.keys import IssuedKey

_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_LATER = _AT + timedelta(seconds=2)
_DIGEST = "sha256:" + "5d" * 32
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
VM_ID, EXECUTION_ID, JOB_ID, TASK_ID = (
    "vm_06jx3k9q2w8r5t1a",
    "ex_06jx3k9q2w8r5t1b",
    "job_06jx3k9q2w8r5t1c",
    "task_06jx3k9q2w8r5t1d",
)
_WORKER_ID = "wkr_06jx3k9q2w8r5t1e"

_RESULT = ExecutionResult(
    ExecutionState.EXITED, exit_code=0, duration_s=0.004, stdout_bytes=6, use=ResourceUse(0.001, 0.002, 900)
)
_NOOP = TaskSpec("system.noop", payload={"sleep_s": 1}, priority=Priority.HIGH)
_STEP = JobStep("test", run="make test")

# What is sent: no more than it takes.
_REQUESTS: Mapping[str, Any] = {
    "VMCreate": {
        "image": "base",
        "name": "box",
        "resources": {"vcpus": 2, "memory_mib": 1024},
        "ttl_s": 3600,
    },
    "VMExtend": {"ttl_s": 600},
    "VMStop": {"grace_s": 5},
    "VMFork": {"count": 2, "names": ["left", "right"]},
    "ExecutionSpec": {"argv": ["uname", "-a"], "timeout_s": 10},
    "ExecutionSignal": {"signal": 15},
    "TerminalSize": {"rows": 40, "columns": 120},
    "FileMove": {"source": "/tmp/a", "target": "/tmp/b"},  # noqa: S108 - paths in a guest
    "FileMode": {"path": "/tmp/run.sh", "mode": 493},  # noqa: S108
    "Directory": {"path": "/tmp/work/deep", "parents": True},  # noqa: S108
    "SnapshotCreate": {"name": "ready"},
    "ImageBuild": {"recipe": {"name": "tools", "packages": ["git", "make"]}},
    "ImageImport": {"source": "docker://alpine:3.20", "tag": "alpine"},
    "ImageTag": {"tag": "stable"},
    "ImagePrune": {"tagged": False},
    "JobSubmit": {
        "spec": {
            "name": "check",
            "source": {"kind": "git", "url": "https://example.org/app.git", "ref": "main"},
            "steps": [{"name": "test", "run": "make test"}],
            "secrets": ["TOKEN"],
        },
        "secrets": {"TOKEN": "…"},
    },
    "TaskSubmit": {"spec": {"type": "system.noop", "payload": {"sleep_s": 1}, "priority": "high"}},
    "TaskBatch": {"specs": [{"type": "system.noop"}, {"type": "system.noop", "group": "night"}]},
    "TaskCancel": {"reason": "not needed any more"},
    "TaskChoice": {"types": ["vm.exec"], "group": "night"},
    "ScheduleCreate": {
        "name": "nightly",
        "spec": {"cron": "30 2 * * *", "zone": "Europe/Paris", "task": {"type": "system.noop"}},
    },
    "TypeLimit": {"per_second": 5, "burst": 10, "concurrency": 20},
    "SecretSet": {"value": "…"},
    "SecretRotation": {"master": False},
    "ProjectCreate": {"name": "web", "quota": {"vms": 20, "vcpus": 40}},
    "Quota": {"vms": 20, "vcpus": 40, "memory_mib": 65536},
    "KeyCreate": {
        "name": "ci",
        "role": "operator",
        "scopes": ["jobs:*", "tasks:read"],
        "expires_in_s": 7776000,
    },
    "KeyRotate": {"grace_s": 3600},
    "MemberAdd": {"subject": "ada", "role": "admin", "project": "web"},
    "MemberRole": {"role": "operator"},
}

_CREATED = AuditEvent(
    "key:key_06jx3k9q2w8r5t1n",
    "vm.create",
    VM_ID,
    project_id="default",
    address="192.0.2.7",
    request_id="4f1c2a",
    data={},
)
_KEY = "6f79e3fd08c2cc21104f803ed19f51b4fd1c09095e6d8c790d4ebbd9f8548b38"
# An entry, and the end, as an export writes them.
AUDIT_LINES: tuple[Any, ...] = (
    {"audit": {"v": 1, "key": _KEY, "project_id": None}},
    {
        "entry": {
            "v": 1,
            "seq": 1,
            "at": "2026-03-01T12:00:00.000000Z",
            "actor": _CREATED.actor,
            "action": _CREATED.action,
            "resource": _CREATED.resource,
            "outcome": _CREATED.outcome,
            "project_id": _CREATED.project_id,
            "address": _CREATED.address,
            "request_id": _CREATED.request_id,
            "data": {},
            "previous": "0" * 64,
            "hash": _SHA256,
        }
    },
    {"head": {"seq": 1, "hash": _SHA256, "signature": "5d" * 64}},
)


@cache
def examples() -> Mapping[str, Any]:
    """All of them, as JSON types."""
    return {**_REQUESTS, **{type(value).__name__: wire.dump(value) for value in (*_machines(), *_work())}}


def _machines() -> tuple[Any, ...]:
    execution = Execution(
        EXECUTION_ID,
        VM_ID,
        ExecutionSpec(("uname", "-a")),
        ExecutionState.EXITED,
        _AT,
        started_at=_AT,
        ended_at=_LATER,
        result=_RESULT,
    )
    vm = VM(
        VM_ID,
        VMSpec(name="box", ttl_s=3600.0, labels={"team": "web"}),
        VMState.RUNNING,
        "qemu",
        _DIGEST,
        created_at=_AT,
        updated_at=_LATER,
        last_active_at=_LATER,
        worker_id=_WORKER_ID,
    )
    inside = GuestMetrics(
        12.5, 0.4, 0.6, 11.0, 507_000_000, 450_000_000, 4_200_000_000, 4_100_000_000, 9, 0.02
    )
    file = FileStat("/tmp/data.bin", FileKind.FILE, 4, 0o644, 0, 0, 1_772_366_400_000_000_000)  # noqa: S108
    fields = {name: getattr(file, name) for name in FileStat.__slots__}
    info = WorkerInfo(
        _WORKER_ID, "host-1", "host-1:7443", __version__, Capacity(64, 16, 65536), ("qemu",), {"zone": "a"}
    )
    worker = Worker(info, WorkerState.ACTIVE, 3, _AT, _LATER, _LATER + timedelta(seconds=12))
    return (
        vm,
        VMMetrics(VM_ID, "running", "", 1.2, 180_000_000, 2_000_000, inside),
        Check("kvm", ok=False, detail="/dev/kvm is missing.", hint="VMs run emulated.", required=False),
        execution,
        _RESULT,
        Ran(execution, Bytes("Linux\n"), Bytes()),
        file,
        Written(**fields, sha256=_SHA256),
        Checksum(file.path, file.size, _SHA256),
        Snapshot(
            "snap_06jx3k9q2w8r5t1f",
            "ready",
            VM_ID,
            "qemu",
            _DIGEST,
            Resources(),
            SnapshotState.READY,
            _AT,
            size_bytes=61_000_000,
        ),
        Image(_DIGEST, ("base",), "amd64", 95_000_000, _AT, "build:base"),
        Freed(95_000_000),
        WorkerStatus(worker, Usage(3, 4, 4096, 2)),
        Alive("ok", __version__, 4711),
        Ready("ready", __version__, PoolLevel(2, 2)),
    )


def _work() -> tuple[Any, ...]:
    result = StepResult("test", StepOutcome.PASSED, EXECUTION_ID, _RESULT, _AT, _LATER, log_bytes=6)
    job = Job(
        JOB_ID,
        JobSpec((_STEP,), name="check", source=GitSource("https://example.org/app.git", "main", None)),
        JobState.SUCCEEDED,
        _AT,
        vm_id=VM_ID,
        started_at=_AT,
        ended_at=_LATER,
        commit="4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        steps=(result,),
        artifacts=(Artifact("report", "artifacts/report.xml", 4, _SHA256, "application/xml"),),
        tests=TestSummary(tests=12, duration_s=1.5),
        patch=PatchSummary("4b825dc6", "patch.diff", 1, 2, 1, 310),
        task_id=TASK_ID,
        attempt=1,
    )
    task = Task(
        TASK_ID,
        "default",
        _NOOP,
        TaskState.SUCCEEDED,
        _AT,
        _LATER,
        attempt=1,
        worker_id=_WORKER_ID,
        started_at=_AT,
        ended_at=_LATER,
        result={},
        ok=True,
    )
    key = APIKey(
        "key_06jx3k9q2w8r5t1n", "ci", "aek_k3j9q2w8", "prj_06jx3k9q2w8r5t1h", Role.OPERATOR, _AT, "local"
    )
    schedule = ScheduleSpec(replace(_NOOP, priority=Priority.LOW), cron="30 2 * * *", zone="Europe/Paris")
    return (
        job,
        StepLog("01-test.log", 6),
        Upload("upl_06jx3k9q2w8r5t1p", 48_128, _SHA256, _AT + timedelta(hours=1)),
        task,
        Attempt(1, _AT, _LATER, _WORKER_ID),
        Changed(3),
        TaskTypeInfo("system.noop", "Does nothing.", public=True, timeout_s=None, retry=Retry(), payload={}),
        Schedule("sched_06jx3k9q2w8r5t1g", "default", "nightly", schedule, _AT, _LATER),
        Queue(Priority.HIGH, queued=2, running=1),
        Project("prj_06jx3k9q2w8r5t1h", "web", _AT, Quota(vms=20)),
        Secret(
            "sec_06jx3k9q2w8r5t1j", "default", SecretScope.IMAGE, "base", "TOKEN", 2, _AT, _LATER, "local"
        ),
        key,
        IssuedKey(key, "aek_k3j9q2w8_" + "x" * 43),
        Member("prj_06jx3k9q2w8r5t1h", "oidc:https://id.example.org#ada", Role.ADMIN, _AT, "local"),
        WhoAmI(f"key:{key.id}", Role.OPERATOR, False, key.project_id, "web", ("jobs:read", "jobs:write")),
        AuditEntry(1, _AT, _CREATED, "0" * 64, _SHA256),
        AuditVerification(1, 1, _KEY, AuditHead(1, _SHA256, "5d" * 64), ()),
        AuditKey(_KEY),
        KeyRotation("kek_06jx3k9q2w8r5t1k", 12, ("kek_06jx3k9q2w8r5t1m",), "1f00aa42c0ffee11"),
    )
