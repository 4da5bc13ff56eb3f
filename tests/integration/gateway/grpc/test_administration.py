"""Members, API keys, secrets, the audit log, workers; and who may not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode
from grpc.aio import AioRpcError, Channel

from aetherium.domain.errors import InvalidInput, NotFound
from aetherium.domain.identity import ALL, LOCAL, PERMISSIONS, Role
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.workers import WorkerInfo
from aetherium.protocol.generated import (
    api_keys_pb2,
    audit_pb2,
    members_pb2,
    projects_pb2,
    secrets_pb2,
    workers_pb2,
)
from aetherium.protocol.generated.api_keys_pb2_grpc import KeyServiceStub
from aetherium.protocol.generated.audit_pb2_grpc import AuditServiceStub
from aetherium.protocol.generated.members_pb2_grpc import MemberServiceStub
from aetherium.protocol.generated.projects_pb2_grpc import ProjectServiceStub
from aetherium.protocol.generated.secrets_pb2_grpc import SecretServiceStub
from aetherium.protocol.generated.workers_pb2_grpc import WorkersServiceStub
from aetherium.services.audit.exported import verify_lines
from tests.integration.gateway.grpc.conftest import Served, bearer, told

if TYPE_CHECKING:
    from aetherium.protocol.generated.api_keys_pb2_grpc import KeyServiceAsyncStub
    from aetherium.protocol.generated.audit_pb2_grpc import AuditServiceAsyncStub
    from aetherium.protocol.generated.members_pb2_grpc import MemberServiceAsyncStub
    from aetherium.protocol.generated.projects_pb2_grpc import ProjectServiceAsyncStub
    from aetherium.protocol.generated.secrets_pb2_grpc import SecretServiceAsyncStub
    from aetherium.protocol.generated.workers_pb2_grpc import WorkersServiceAsyncStub

# What a viewer is refused: every call of these services, and what it would need.
REFUSED: Mapping[str, Mapping[str, str | None]] = {
    "MemberService": {
        "List": "members:read",
        "Add": "members:write",
        "SetRole": "members:write",
        "Remove": "members:write",
        "WhoAmI": None,
    },
    "KeyService": {
        "List": "keys:read",
        "Get": "keys:read",
        "Create": "keys:write",
        "Rotate": "keys:write",
        "Revoke": "keys:write",
    },
    "SecretService": {
        "Set": "secrets:write",
        "List": "secrets:read",
        "Get": "secrets:read",
        "Delete": "secrets:write",
        "RotateKey": "cluster:write",
    },
    "AuditService": {
        "List": "audit:read",
        "Export": "audit:read",
        "Verify": "cluster:read",
        "GetKey": "audit:read",
    },
    "WorkersService": {
        "List": "workers:read",
        "Get": "workers:read",
        "Drain": "workers:write",
        "Activate": "workers:write",
        "Remove": "workers:write",
    },
    "ImageService": {
        "List": None,
        "Get": None,
        "Build": "images:write",
        "Import": "images:write",
        "Tag": "images:write",
        "Remove": "images:write",
        "Prune": "images:write",
    },
    "UploadService": {"Create": "jobs:write"},
}
# What has to be given before anybody is asked who may.
_NEEDED = {"role": members_pb2.ROLE_VIEWER}


@pytest.fixture
def keys(channel: Channel) -> KeyServiceAsyncStub:
    return KeyServiceStub(channel)


@pytest.fixture
def members(channel: Channel) -> MemberServiceAsyncStub:
    return MemberServiceStub(channel)


@pytest.fixture
def secrets(channel: Channel) -> SecretServiceAsyncStub:
    return SecretServiceStub(channel)


@pytest.fixture
def audit(channel: Channel) -> AuditServiceAsyncStub:
    return AuditServiceStub(channel)


@pytest.fixture
def workers(channel: Channel) -> WorkersServiceAsyncStub:
    return WorkersServiceStub(channel)


async def test_a_key_is_made_used_rotated_and_revoked(
    keys: KeyServiceAsyncStub, members: MemberServiceAsyncStub
) -> None:
    request = api_keys_pb2.KeyServiceCreateRequest(
        name="ci", role=members_pb2.ROLE_ADMIN, scopes=api_keys_pb2.Scopes(scopes=["vms:read", "keys:*"])
    )
    made = (await keys.Create(request)).issued
    assert (made.key.role, made.key.project_id) == (members_pb2.ROLE_ADMIN, DEFAULT_PROJECT)
    assert list(made.key.scopes.scopes) == ["keys:*", "vms:read"]
    own = (("authorization", f"Bearer {made.secret}"),)
    who = await members.WhoAmI(members_pb2.MemberServiceWhoAmIRequest(), metadata=own)
    assert (who.subject, who.project, who.installation) == (f"key:{made.key.id}", "default", False)
    assert list(who.permissions) == ["keys:read", "keys:write", "vms:read"]

    request_ = api_keys_pb2.KeyServiceRotateRequest(ref="ci", grace_s=60.0)
    second = (await keys.Rotate(request_)).issued
    assert (second.key.name, second.secret != made.secret) == ("ci", True)
    assert (await keys.Get(api_keys_pb2.KeyServiceGetRequest(ref=made.key.id))).key.HasField("expires_at")
    revoked = (await keys.Revoke(api_keys_pb2.KeyServiceRevokeRequest(ref=second.key.id))).key
    assert revoked.HasField("revoked_at")
    listed = (await keys.List(api_keys_pb2.KeyServiceListRequest())).keys
    assert [key.id for key in listed] == [second.key.id, made.key.id]

    plain = (await keys.Create(api_keys_pb2.KeyServiceCreateRequest(name="plain"))).issued.key
    assert (plain.role, plain.HasField("scopes")) == (members_pb2.ROLE_OPERATOR, False)
    root = await keys.Create(api_keys_pb2.KeyServiceCreateRequest(name="root", installation=True))
    assert (root.issued.key.role, root.issued.key.HasField("project_id")) == (members_pb2.ROLE_ADMIN, False)


async def test_members_come_and_go(members: MemberServiceAsyncStub) -> None:
    ann, bob = "oidc:https://id.example#ann", "oidc:https://id.example#bob"
    added = (
        await members.Add(members_pb2.MemberServiceAddRequest(subject=ann, role=members_pb2.ROLE_ADMIN))
    ).member
    assert (added.subject, added.role, added.project_id) == (ann, members_pb2.ROLE_ADMIN, DEFAULT_PROJECT)
    await members.Add(members_pb2.MemberServiceAddRequest(subject=bob, role=members_pb2.ROLE_VIEWER))
    change = members_pb2.MemberServiceSetRoleRequest(subject=bob, role=members_pb2.ROLE_OPERATOR)
    assert (await members.SetRole(change)).member.role == members_pb2.ROLE_OPERATOR
    await members.Remove(members_pb2.MemberServiceRemoveRequest(subject=ann))
    listed = (await members.List(members_pb2.MemberServiceListRequest(project="default"))).members
    assert [(member.subject, member.role) for member in listed] == [(bob, members_pb2.ROLE_OPERATOR)]
    with pytest.raises(AioRpcError) as caught:
        await members.Add(members_pb2.MemberServiceAddRequest(subject=ann))
    error = told(caught.value)
    assert (error.details["field"], error.hint) == ("role", "There are: viewer, operator, admin.")


async def test_who_is_on_this_host_may_all(members: MemberServiceAsyncStub) -> None:
    who = await members.WhoAmI(members_pb2.MemberServiceWhoAmIRequest())
    assert (who.subject, who.role, who.installation) == (LOCAL.subject, members_pb2.ROLE_ADMIN, True)
    assert set(who.permissions) == ALL
    assert not who.HasField("project")


async def test_secrets_go_in_and_never_come_out(secrets: SecretServiceAsyncStub) -> None:
    first = (await secrets.Set(secrets_pb2.SecretServiceSetRequest(name="TOKEN", value="hidden-1"))).secret
    assert (first.version, first.scope) == (1, secrets_pb2.SECRET_SCOPE_PROJECT)
    second = (await secrets.Set(secrets_pb2.SecretServiceSetRequest(name="TOKEN", value="hidden-2"))).secret
    assert (second.id, second.version) == (first.id, 2)
    of_job: dict[str, Any] = {"name": "TOKEN", "scope": secrets_pb2.SECRET_SCOPE_JOB, "target": "ci"}
    await secrets.Set(secrets_pb2.SecretServiceSetRequest(**of_job, value="hidden-3"))
    found = await secrets.Get(secrets_pb2.SecretServiceGetRequest(**of_job))
    listed = await secrets.List(secrets_pb2.SecretServiceListRequest())
    assert {secret.id for secret in listed.secrets} == {first.id, found.secret.id}
    assert b"hidden" not in found.SerializeToString() + listed.SerializeToString()
    rotated = (await secrets.RotateKey(secrets_pb2.SecretServiceRotateKeyRequest())).rotation
    assert (rotated.wrapped, rotated.remastered) == (2, 0)
    await secrets.Delete(secrets_pb2.SecretServiceDeleteRequest(**of_job))
    with pytest.raises(AioRpcError) as caught:
        await secrets.Get(secrets_pb2.SecretServiceGetRequest(**of_job))
    assert isinstance(told(caught.value), NotFound)
    assert (await secrets.Get(secrets_pb2.SecretServiceGetRequest(name="TOKEN"))).secret == second


async def test_the_audit_log_is_listed_exported_and_verified(
    channel: Channel, secrets: SecretServiceAsyncStub, audit: AuditServiceAsyncStub
) -> None:
    for value in ("a", "b"):
        await secrets.Set(secrets_pb2.SecretServiceSetRequest(name="TOKEN", value=value))
    projects: ProjectServiceAsyncStub = ProjectServiceStub(channel)
    await projects.Create(projects_pb2.ProjectServiceCreateRequest(name="lab"))

    request = audit_pb2.AuditServiceListRequest(action="secret.*", outcome="ok", limit=1)
    first = await audit.List(request)
    request.cursor = first.next_cursor
    second = await audit.List(request)
    assert [page.entries[0].event.action for page in (first, second)] == ["secret.set", "secret.set"]
    assert (first.entries[0].seq > second.entries[0].seq, second.next_cursor) == (True, "")
    late = audit_pb2.AuditServiceListRequest(since=Timestamp(seconds=4102444800))
    assert not (await audit.List(late)).entries
    assert not (await audit.List(audit_pb2.AuditServiceListRequest(project="lab"))).entries
    for cursor in ("x", "9" * 19):
        with pytest.raises(AioRpcError) as caught:
            await audit.List(audit_pb2.AuditServiceListRequest(cursor=cursor))
        assert isinstance(told(caught.value), InvalidInput)

    key = (await audit.GetKey(audit_pb2.AuditServiceGetKeyRequest())).key
    lines = [each.line async for each in audit.Export(audit_pb2.AuditServiceExportRequest())]
    outside = await asyncio.to_thread(verify_lines, lines, [key])
    assert (outside.ok, outside.entries) == (True, len([line for line in lines if '"entry"' in line]))
    seq, hash_ = first.entries[0].seq, first.entries[0].hash
    verified = await audit.Verify(audit_pb2.AuditServiceVerifyRequest(known={seq: hash_}))
    assert (verified.verification.complete, len(verified.verification.findings)) == (True, 0)
    verified = await audit.Verify(audit_pb2.AuditServiceVerifyRequest(known={seq: "0" * 64}))
    assert [finding.seq for finding in verified.verification.findings] == [seq]


async def test_workers_are_drained_activated_and_forgotten(
    served: Served, workers: WorkersServiceAsyncStub
) -> None:
    info = WorkerInfo("wrk_0000000000000001", "other", labels={"zone": "a"}, pooled={"sha256:0": 2})
    registry = served.platform.store.workers
    registered = await registry.register(info, lease_s=60.0)
    found = (await workers.Get(workers_pb2.WorkersServiceGetRequest(ref="other"))).worker
    assert (found.worker.info.id, dict(found.worker.info.pooled)) == (info.id, {"sha256:0": 2})
    assert (found.worker.state, found.usage.tasks) == (workers_pb2.WORKER_STATE_ACTIVE, 0)
    drained = (await workers.Drain(workers_pb2.WorkersServiceDrainRequest(ref="other"))).worker.worker
    assert (drained.state, drained.drain) == (workers_pb2.WORKER_STATE_DRAINING, True)
    everybody = (await workers.List(workers_pb2.WorkersServiceListRequest())).workers
    names = [status.worker.info.name for status in everybody]
    assert (names, "other" in names) == (sorted(names), True)
    cases: list[tuple[workers_pb2.WorkersServiceListRequest, list[str]]] = [
        (workers_pb2.WorkersServiceListRequest(states=[workers_pb2.WORKER_STATE_DRAINING]), [info.id]),
        (workers_pb2.WorkersServiceListRequest(states=[workers_pb2.WORKER_STATE_LOST]), []),
        (workers_pb2.WorkersServiceListRequest(labels={"zone": "a"}), [info.id]),
        (workers_pb2.WorkersServiceListRequest(labels={"zone": "b"}), []),
    ]
    for request, ids in cases:
        listed = (await workers.List(request)).workers
        assert [status.worker.info.id for status in listed] == ids
    active = (await workers.Activate(workers_pb2.WorkersServiceActivateRequest(ref="other"))).worker.worker
    assert active.state == workers_pb2.WORKER_STATE_ACTIVE
    with pytest.raises(AioRpcError) as caught:
        await workers.Remove(workers_pb2.WorkersServiceRemoveRequest(ref="other"))
    assert caught.value.code() is StatusCode.FAILED_PRECONDITION
    await registry.stop(info.id, registered.incarnation)
    await workers.Remove(workers_pb2.WorkersServiceRemoveRequest(ref="other"))
    with pytest.raises(AioRpcError) as caught:
        await workers.Get(workers_pb2.WorkersServiceGetRequest(ref="other"))
    assert caught.value.code() is StatusCode.NOT_FOUND


@pytest.mark.parametrize("service", REFUSED)
async def test_a_viewer_is_refused_what_it_may_not(served: Served, channel: Channel, service: str) -> None:
    viewer = await bearer(served.platform, project_id=DEFAULT_PROJECT, role=Role.VIEWER)
    methods = Default().FindServiceByName(f"aetherium.v1.{service}").methods
    assert [method.name for method in methods] == list(REFUSED[service])
    for method in methods:
        needed = REFUSED[service][method.name]
        if needed is None:
            continue
        assert needed not in PERMISSIONS[Role.VIEWER]
        with pytest.raises(AioRpcError) as caught:
            await _called(channel, method, viewer)
        assert (caught.value.code(), told(caught.value).details) == (
            StatusCode.PERMISSION_DENIED,
            {"permission": needed},
        )


async def _called(channel: Channel, method: Any, metadata: tuple[tuple[str, str], ...]) -> None:
    """A call with an empty request, as far as it can be."""
    kind = GetMessageClass(method.input_type)
    names = kind.DESCRIPTOR.fields_by_name.keys() & _NEEDED.keys()
    request = kind(**{name: _NEEDED[name] for name in names})
    path = f"/{method.containing_service.full_name}/{method.name}"
    answer = GetMessageClass(method.output_type).FromString
    if method.client_streaming:
        await channel.stream_unary(path, kind.SerializeToString, answer)(iter([request]), metadata=metadata)
    elif method.server_streaming:
        async for _ in channel.unary_stream(path, kind.SerializeToString, answer)(request, metadata=metadata):
            pass
    else:
        await channel.unary_unary(path, kind.SerializeToString, answer)(request, metadata=metadata)


async def test_another_tenants_key_sees_nothing(
    served: Served,
    keys: KeyServiceAsyncStub,
    members: MemberServiceAsyncStub,
    secrets: SecretServiceAsyncStub,
    audit: AuditServiceAsyncStub,
) -> None:
    project = await served.platform.projects.create("lab")
    stranger = await bearer(served.platform, project_id=project.id, role=Role.ADMIN)
    key = (await keys.Create(api_keys_pb2.KeyServiceCreateRequest(name="ours"))).issued.key
    await secrets.Set(secrets_pb2.SecretServiceSetRequest(name="OURS", value="hidden"))
    ann = "oidc:https://id.example#ann"
    await members.Add(members_pb2.MemberServiceAddRequest(subject=ann, role=members_pb2.ROLE_ADMIN))

    seen = await keys.List(api_keys_pb2.KeyServiceListRequest(), metadata=stranger)
    assert {each.project_id for each in seen.keys} == {project.id}
    assert not (await secrets.List(secrets_pb2.SecretServiceListRequest(), metadata=stranger)).secrets
    assert not (await members.List(members_pb2.MemberServiceListRequest(), metadata=stranger)).members
    entries = (await audit.List(audit_pb2.AuditServiceListRequest(), metadata=stranger)).entries
    assert {entry.event.project_id for entry in entries} == {project.id}
    lines = audit.Export(audit_pb2.AuditServiceExportRequest(), metadata=stranger)
    assert not [each.line async for each in lines if key.id in each.line]
    for call in (
        keys.Get(api_keys_pb2.KeyServiceGetRequest(ref=key.id), metadata=stranger),
        keys.Revoke(api_keys_pb2.KeyServiceRevokeRequest(ref="ours"), metadata=stranger),
        secrets.Get(secrets_pb2.SecretServiceGetRequest(name="OURS"), metadata=stranger),
        members.List(members_pb2.MemberServiceListRequest(project="default"), metadata=stranger),
        audit.List(audit_pb2.AuditServiceListRequest(project="default"), metadata=stranger),
    ):
        with pytest.raises(AioRpcError) as caught:
            await call
        assert caught.value.code() is StatusCode.NOT_FOUND
