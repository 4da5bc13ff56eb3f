"""Domain values as messages: none of what may be seen is missing, and all comes back as it was."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from aetherium.domain import (
    audit,
    events,
    identity,
    images,
    jobs,
    projects,
    queues,
    schedules,
    secrets,
    snapshots,
    tasks,
    uploads,
    vms,
    workers,
)
from aetherium.domain.errors import InvalidInput
from aetherium.domain.identity import WhoAmI
from aetherium.domain.task_types import TaskTypeInfo
from aetherium.gateway.grpc.values import enum_of, from_message, moment_of, to_message
from aetherium.protocol.generated import (
    api_keys_pb2,
    audit_pb2,
    events_pb2,
    images_pb2,
    jobs_pb2,
    members_pb2,
    projects_pb2,
    queues_pb2,
    schedules_pb2,
    secrets_pb2,
    snapshots_pb2,
    tasks_pb2,
    uploads_pb2,
    vms_pb2,
    workers_pb2,
)
from aetherium.services.identity.keys import IssuedKey

# Whole values, with what they are made of.
SHOWN: tuple[tuple[type[Any], type[Message]], ...] = (
    (vms.VM, vms_pb2.VM),
    (snapshots.Snapshot, snapshots_pb2.Snapshot),
    (images.Image, images_pb2.Image),
    (jobs.Job, jobs_pb2.Job),
    (jobs.JobEvent, jobs_pb2.JobEvent),
    (jobs.StepLog, jobs_pb2.StepLog),
    (tasks.Task, tasks_pb2.Task),
    (tasks.Attempt, tasks_pb2.Attempt),
    (TaskTypeInfo, tasks_pb2.TaskTypeInfo),
    (schedules.Schedule, schedules_pb2.Schedule),
    (queues.Queue, queues_pb2.Queue),
    (tasks.TypeLimit, queues_pb2.TypeLimit),
    (projects.Project, projects_pb2.Project),
    (events.Event, events_pb2.Event),
    (images.ImageProgress, images_pb2.ImageProgress),
    (uploads.Upload, uploads_pb2.Upload),
    (workers.WorkerStatus, workers_pb2.WorkerStatus),
    (IssuedKey, api_keys_pb2.IssuedKey),
    (identity.Member, members_pb2.Member),
    (WhoAmI, members_pb2.MemberServiceWhoAmIResponse),
    (secrets.Secret, secrets_pb2.Secret),
    (secrets.KeyRotation, secrets_pb2.KeyRotation),
    (audit.AuditEntry, audit_pb2.AuditEntry),
    (audit.AuditVerification, audit_pb2.AuditVerification),
)
# What callers give.
GIVEN: tuple[tuple[type[Any], type[Message]], ...] = (
    (vms.VMSpec, vms_pb2.VMSpec),
    (jobs.JobSpec, jobs_pb2.JobSpec),
    (tasks.TaskSpec, tasks_pb2.TaskSpec),
    (schedules.ScheduleSpec, schedules_pb2.ScheduleSpec),
    (tasks.TypeLimit, queues_pb2.TypeLimit),
    (projects.Quota, projects_pb2.Quota),
    (images.ImageRecipe, images_pb2.ImageRecipe),
)
# What stays inside.
_HIDDEN = {"handle", "owner", "driver_data"}
_PACKAGE = "aetherium.v1."


def _pairs(kind: Any, descriptor: Any) -> Iterator[tuple[Any, Any]]:
    """A dataclass with its message, and all that they are made of."""
    yield kind, descriptor
    hints = typing.get_type_hints(kind)
    for field in descriptor.fields:
        inner = field.message_type
        if inner is None or not inner.full_name.startswith(_PACKAGE) or field.name not in hints:
            continue
        kinds = [part for part in _parts(hints[field.name]) if dataclasses.is_dataclass(part)]
        if "kind" in inner.oneofs_by_name:
            for part in kinds:
                if (member := inner.fields_by_name.get(_name(part))) is not None:
                    yield from _pairs(part, member.message_type)
        elif kinds:
            yield from _pairs(kinds[0], inner)


def _name(member: Any) -> Any:
    """Of a member of a union."""
    return next(field.default for field in dataclasses.fields(member) if field.name == "kind")


def _parts(hint: Any) -> Iterator[Any]:
    arguments = typing.get_args(hint)
    if not arguments:
        yield hint
    for argument in arguments:
        yield from _parts(argument)


ALL = {
    descriptor.full_name: (kind, descriptor)
    for root, message in (*SHOWN, *GIVEN)
    for kind, descriptor in _pairs(root, message.DESCRIPTOR)
}


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_message_has_the_fields_of_its_value(name: str) -> None:
    kind, descriptor = ALL[name]
    fields = {field.name: field.default for field in dataclasses.fields(kind)}
    if fields.get("kind", dataclasses.MISSING) is not dataclasses.MISSING:
        del fields["kind"]  # which only tells the members of a union apart
    assert {field.name for field in descriptor.fields} == fields.keys() - _HIDDEN


def test_every_source_of_a_job_can_be_given() -> None:
    known = {_name(source) for source in typing.get_args(jobs.JobSource)}
    assert {field.name for field in jobs_pb2.JobSource.DESCRIPTOR.fields} == known


@pytest.mark.parametrize("name", sorted(ALL))
def test_an_enum_has_the_values_of_the_domain(name: str) -> None:
    kind, descriptor = ALL[name]
    hints = typing.get_type_hints(kind)
    for field in descriptor.fields:
        if field.enum_type is None:
            continue
        enum = next(
            part for part in _parts(hints[field.name]) if isinstance(part, type) and issubclass(part, StrEnum)
        )
        names = [value.name for value in field.enum_type.values]
        prefix = names[0].removesuffix("UNSPECIFIED")
        assert [word.removeprefix(prefix).lower() for word in names[1:]] == [item.value for item in enum]


@pytest.mark.parametrize(
    "name",
    sorted({d.full_name for root, message in GIVEN for _, d in _pairs(root, message.DESCRIPTOR)}),
)
def test_what_is_not_given_can_be_told_from_nothing(name: str) -> None:
    """A field without presence means the default when it is empty: that has to be the same."""
    kind, descriptor = ALL[name]
    defaults = {field.name: field for field in dataclasses.fields(kind)}
    for field in descriptor.fields:
        default = defaults[field.name].default
        if field.has_presence or field.is_repeated or field.enum_type is not None:
            continue
        assert default in (dataclasses.MISSING, field.default_value), field.name


NOW = datetime(2026, 12, 24, 18, 0, 0, 123456, tzinfo=UTC)
STEP = jobs.JobStep("s", run="x")
VALUES: list[tuple[Any, type[Message]]] = [
    (vms.VMSpec(), vms_pb2.VMSpec),
    (
        vms.VMSpec(
            image="i",
            name="n",
            resources=vms.Resources(2, 1024, 64),
            network=vms.NetworkPolicy(vms.NetworkMode.ALLOWLIST, ("a:1", "10.0.0.0/8")),
            ttl_s=1.5,
            idle_action="delete",
            labels={"a": "b"},
            env={"E": ""},
        ),
        vms_pb2.VMSpec,
    ),
    (jobs.JobSpec((STEP,)), jobs_pb2.JobSpec),
    (
        jobs.JobSpec(
            (
                jobs.JobStep("a", argv=("x", ""), secrets=(), condition=jobs.StepCondition.ALWAYS),
                jobs.JobStep("b", run="y", secrets=("S",), cwd="c", continue_on_error=True),
            ),
            source=jobs.GitSource("https://example.org/x.git", "main", 5),
            artifacts=(jobs.ArtifactRule("*.txt", "t", 5, True),),
            secrets=("S",),
            patch=False,
            priority=tasks.Priority.LOW,
            attempts=1,
            timeout_s=5.0,
        ),
        jobs_pb2.JobSpec,
    ),
    (jobs.JobSpec((STEP,), source=jobs.DirectorySource("/x", uncommitted=False, depth=2)), jobs_pb2.JobSpec),
    (jobs.JobSpec((STEP,), source=jobs.BundleSource("/x", patch="p")), jobs_pb2.JobSpec),
    (jobs.JobSpec((STEP,), source=jobs.ArchiveSource("/x", 1)), jobs_pb2.JobSpec),
    (jobs.JobSpec((STEP,), source=jobs.PackedSource()), jobs_pb2.JobSpec),
    (
        tasks.TaskSpec(
            "t",
            {"n": 1, "f": 1.5, "s": "x", "b": True, "none": None, "list": [1, {"a": []}]},
            tasks.Priority.CRITICAL,
            tasks.Demand(1, 2, "qemu", "base", {"zone": "a"}, "wrk_0000000000000000"),
            tasks.Retry(1, 0.0, 0.0),
            run_at=NOW,
            after=("task_0000000000000000",),
            keep_s=1.0,
        ),
        tasks_pb2.TaskSpec,
    ),
    (
        schedules.ScheduleSpec(tasks.TaskSpec("t"), cron="* * * * *", overlap=False),
        schedules_pb2.ScheduleSpec,
    ),
    (schedules.ScheduleSpec(tasks.TaskSpec("t"), every_s=5.0, catch_up=True), schedules_pb2.ScheduleSpec),
    (tasks.TypeLimit(None, 3, 4), queues_pb2.TypeLimit),
    (projects.Quota(tasks=0, vms=5), projects_pb2.Quota),
    (images.ImageRecipe("dev", ("git", "sudo"), "me", sudo=True), images_pb2.ImageRecipe),
    (
        identity.APIKey(
            "key_1",
            "k",
            "aek_1",
            "prj_1",
            identity.Role.ADMIN,
            NOW,
            "local",
            frozenset({"vms:read", "*:read"}),
        ),
        api_keys_pb2.APIKey,
    ),
    (
        identity.APIKey("key_1", "k", "aek_1", "prj_1", identity.Role.ADMIN, NOW, "local", frozenset()),
        api_keys_pb2.APIKey,
    ),
    (
        audit.AuditVerification(
            5, 1, "00", audit.AuditHead(5, "1", "2"), (audit.AuditFinding(3, audit.FindingKind.FORGED, "x"),)
        ),
        audit_pb2.AuditVerification,
    ),
    (workers.WorkerInfo("wrk_1", "w", pooled={"sha256:0": 2}, private=True), workers_pb2.WorkerInfo),
]


@pytest.mark.parametrize(("value", "kind"), VALUES, ids=lambda item: type(item).__name__)
def test_values_come_back_as_they_were(value: Any, kind: type[Message]) -> None:
    message = to_message(kind, value)
    assert from_message(kind.FromString(message.SerializeToString()), type(value)) == value


def test_scopes_that_do_not_narrow_are_told_from_none() -> None:
    key = identity.APIKey("key_1", "k", "aek_1", None, identity.Role.ADMIN, NOW, "local")
    message = to_message(api_keys_pb2.APIKey, key)
    assert [field.name for field, _ in message.ListFields() if field.name in ("scopes", "project_id")] == []
    assert to_message(api_keys_pb2.APIKey, dataclasses.replace(key, scopes=frozenset())).HasField("scopes")


def test_whole_numbers_stay_whole() -> None:
    message = to_message(tasks_pb2.TaskSpec, tasks.TaskSpec("t", {"n": 3, "deep": [{"m": -1}]}))
    payload: Any = from_message(message, tasks.TaskSpec).payload
    assert (type(payload["n"]), type(payload["deep"][0]["m"])) == (int, int)


def test_text_that_is_none_is_readable() -> None:
    message = to_message(jobs_pb2.StepLog, jobs.StepLog("a\udcffb", 1))
    assert message.name == "a\\udcffb"
    event = jobs.JobEvent(1, NOW, "output", {"text": "a\udcffb"})
    assert to_message(jobs_pb2.JobEvent, event).data["text"] == "a\\udcffb"


def test_what_is_wrong_is_told_with_its_field() -> None:
    with pytest.raises(InvalidInput) as caught:
        from_message(jobs_pb2.JobSpec(steps=[jobs_pb2.JobStep(run="x")]), jobs.JobSpec)
    assert caught.value.details["field"] == "steps.0.name"
    with pytest.raises(InvalidInput, match="no time"):
        from_message(tasks_pb2.TaskSpec(type="t", run_at=Timestamp(seconds=1 << 60)), tasks.TaskSpec)
    since = audit_pb2.AuditServiceListRequest(since=Timestamp(seconds=1 << 60))
    with pytest.raises(InvalidInput, match="since is no time"):
        moment_of(since, "since")
    unknown = tasks_pb2.TaskServiceListRequest.FromString(b"\x20\x63")
    with pytest.raises(InvalidInput, match="priority is 99"):
        enum_of(unknown, "priority")
    with pytest.raises(InvalidInput, match="cannot be sent"):
        to_message(jobs_pb2.StepLog, jobs.StepLog("a", 1 << 70))
