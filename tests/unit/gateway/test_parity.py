"""What can be done over REST can be done over gRPC, and the other way round: a new operation is not to be
forgotten there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from google.protobuf.descriptor_pool import Default

from aetherium.gateway.app import create_app
from aetherium.gateway.grpc.server import SERVICES
from aetherium.gateway.platform import Services

# By the parts of operation ids; calls that have the same name are left out.
_SERVICES: Mapping[str, str] = {
    "api_keys": "KeyService",
    "audit": "AuditService",
    "dead_letters": "TaskService",
    "events": "EventService",
    "executions": "ExecutionService",
    "files": "FileService",
    "health": "InstallationService",
    "images": "ImageService",
    "jobs": "JobService",
    "members": "MemberService",
    "projects": "ProjectService",
    "queues": "QueueService",
    "schedules": "ScheduleService",
    "secrets": "SecretService",
    "snapshots": "SnapshotService",
    "tasks": "TaskService",
    "uploads": "UploadService",
    "vms": "VMService",
    "whoami": "MemberService",
    "workers": "WorkersService",
}
_CALLS: Mapping[str, tuple[str, ...]] = {
    "audit_key": ("GetKey",),
    "events_stream": ("Watch",),
    "executions_get": ("Get", "Wait"),
    "executions_output": ("Attach",),
    "executions_run": ("Run", "Start", "Attach"),
    "files_read_head": ("Stat",),
    "health_doctor": ("Examine",),
    "jobs_artifact": ("ReadArtifact",),
    "jobs_artifact_head": ("Get",),
    "jobs_events": ("Watch",),
    "jobs_get": ("Get", "Wait"),
    "jobs_log": ("ReadLog",),
    "jobs_logs": ("ListLogs",),
    "jobs_patch": ("ReadPatch",),
    "queues_limit": ("SetLimit",),
    "queues_limits": ("ListLimits",),
    "queues_unlimit": ("ClearLimit",),
    "schedules_run": ("RunNow",),
    "secrets_put": ("Set",),
    "tasks_attempts": ("ListAttempts",),
    "tasks_get": ("Get", "Wait"),
    "tasks_types": ("ListTypes",),
    "vms_console": ("GetConsole",),
    "vms_create": ("Create", "CreateStream"),
    "vms_diagnosis": ("Diagnose",),
    "vms_metrics": ("GetMetrics",),
    "whoami_get": ("WhoAmI",),
}
# grpc.health.v1 says the same.
_ELSEWHERE = {"health_healthz", "health_readyz"}


def _calls(operation: str) -> set[str]:
    """As ``Service/Call``."""
    part = next(part for part in _SERVICES if operation.startswith(f"{part}_"))
    name = operation.removeprefix(f"{part}_")
    named = "".join(word.capitalize() for word in re.split("_", name))
    return {f"{_SERVICES[part]}/{call}" for call in _CALLS.get(operation, (named,))}


def test_both_have_all() -> None:
    document: dict[str, Any] = create_app(cast(Services, object())).openapi()
    operations = {one["operationId"] for path in document["paths"].values() for one in path.values()}
    assert _CALLS.keys() <= operations
    over_rest = set().union(*(_calls(operation) for operation in operations - _ELSEWHERE))
    services = [Default().FindServiceByName(name) for name in SERVICES]
    over_grpc = {f"{service.name}/{method.name}" for service in services for method in service.methods}
    assert over_rest == over_grpc
