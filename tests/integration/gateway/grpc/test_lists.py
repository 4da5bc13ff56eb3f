"""Lists: filters, both orders and pages, as over REST."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode
from grpc.aio import AioRpcError, Channel

from aetherium.bootstrap import Platform
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.identity import Role
from aetherium.domain.ids import JOB, WORKER, new_id
from aetherium.domain.jobs import Job, JobSpec, JobState, JobStep
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.domain.schedules import ScheduleSpec
from aetherium.domain.secrets import SecretScope
from aetherium.domain.tasks import TaskSpec
from aetherium.domain.vms import VM, VMSpec
from aetherium.domain.workers import WorkerInfo
from aetherium.protocol.generated import (
    api_keys_pb2,
    executions_pb2,
    images_pb2,
    jobs_pb2,
    lists_pb2,
    members_pb2,
    projects_pb2,
    schedules_pb2,
    secrets_pb2,
    snapshots_pb2,
    tasks_pb2,
    vms_pb2,
    workers_pb2,
)
from aetherium.protocol.generated.api_keys_pb2_grpc import KeyServiceStub
from aetherium.protocol.generated.executions_pb2_grpc import ExecutionServiceStub
from aetherium.protocol.generated.images_pb2_grpc import ImageServiceStub
from aetherium.protocol.generated.jobs_pb2_grpc import JobServiceStub
from aetherium.protocol.generated.members_pb2_grpc import MemberServiceStub
from aetherium.protocol.generated.projects_pb2_grpc import ProjectServiceStub
from aetherium.protocol.generated.schedules_pb2_grpc import ScheduleServiceStub
from aetherium.protocol.generated.secrets_pb2_grpc import SecretServiceStub
from aetherium.protocol.generated.snapshots_pb2_grpc import SnapshotServiceStub
from aetherium.protocol.generated.tasks_pb2_grpc import TaskServiceStub
from aetherium.protocol.generated.vms_pb2_grpc import VMServiceStub
from aetherium.protocol.generated.workers_pb2_grpc import WorkersServiceStub
from tests.fixtures.platform import tiny_images
from tests.integration.gateway.grpc.conftest import Served, told

if TYPE_CHECKING:
    from aetherium.protocol.generated.vms_pb2_grpc import VMServiceAsyncStub

# 2000 and 2100
_PAST, _FUTURE = Timestamp(seconds=946684800), Timestamp(seconds=4102444800)
_EVERY_HOUR = ScheduleSpec(TaskSpec("system.noop"), every_s=3600)
_REQUESTS: dict[str, Any] = {
    "executions": executions_pb2.ExecutionServiceListRequest(vm="box"),
    "images": images_pb2.ImageServiceListRequest(),
    "jobs": jobs_pb2.JobServiceListRequest(),
    "keys": api_keys_pb2.KeyServiceListRequest(),
    "members": members_pb2.MemberServiceListRequest(),
    "projects": projects_pb2.ProjectServiceListRequest(),
    "schedules": schedules_pb2.ScheduleServiceListRequest(),
    "secrets": secrets_pb2.SecretServiceListRequest(),
    "snapshots": snapshots_pb2.SnapshotServiceListRequest(),
    "tasks": tasks_pb2.TaskServiceListRequest(types=["system.noop"]),
    "vms": vms_pb2.VMServiceListRequest(),
    "workers": workers_pb2.WorkersServiceListRequest(),
}
_BY_TIME = ("executions", "jobs", "tasks")
_SUBJECT = "oidc:https://id.example#"


class Lists:
    """All lists there are, and what is in them."""

    def __init__(self, channel: Channel) -> None:
        stubs: tuple[Any, ...] = (
            ExecutionServiceStub,
            ImageServiceStub,
            JobServiceStub,
            KeyServiceStub,
            MemberServiceStub,
            ProjectServiceStub,
            ScheduleServiceStub,
            SecretServiceStub,
            SnapshotServiceStub,
            TaskServiceStub,
            VMServiceStub,
            WorkersServiceStub,
        )
        self._stubs = {name: kind(channel) for name, kind in zip(_REQUESTS, stubs, strict=True)}

    async def page(self, kind: str, /, **asked: Any) -> tuple[list[str], str]:
        """The names, or else the ids, of a page, and the next cursor."""
        request = type(_REQUESTS[kind])()
        request.CopyFrom(_REQUESTS[kind])
        request.MergeFrom(type(request)(**asked))
        page = await self._stubs[kind].List(request)
        return [_name(item) for item in getattr(page, kind)], page.next_cursor

    async def all(self, kind: str, /, **asked: Any) -> list[str]:
        """Page by page, one at a time."""
        found: list[str] = []
        names, cursor = await self.page(kind, limit=1, **asked)
        while True:
            assert len(names) <= 1
            found += names
            if not cursor:
                return found
            names, cursor = await self.page(kind, limit=1, cursor=cursor, **asked)


def _name(item: Any) -> str:
    match item:
        case workers_pb2.WorkerStatus():
            return str(item.worker.info.name)
        case images_pb2.Image():
            return min(item.tags)
        case secrets_pb2.Secret():
            return str(item.name.lower())
        case members_pb2.Member():
            return str(item.subject.removeprefix(_SUBJECT))
        case jobs_pb2.Job() | vms_pb2.VM():
            return str(item.spec.name)
        case executions_pb2.Execution():
            return str(item.spec.argv[-1].decode())
        case tasks_pb2.Task():
            return str(item.spec.labels["n"])
    return str(item.name)


async def _make(served: Served, name: str, each: str) -> None:
    platform = served.platform
    match name:
        case "executions":
            await platform.executions.run("box", ExecutionSpec(("echo", each)))
        case "images":
            await tiny_images(served.data_dir / "images", each)
        case "jobs":
            spec = JobSpec((JobStep("s", run="true"),), name=each)
            job = Job(new_id(JOB), spec, JobState.SUCCEEDED, await platform.store.now())
            await platform.store.jobs.add(job)
        case "projects":
            await platform.projects.create(each)
        case "schedules":
            await platform.schedules.create(each, _EVERY_HOUR)
        case "snapshots":
            await platform.snapshots.create("box", name=each)
        case "tasks":
            await platform.tasks.submit(TaskSpec("system.noop", labels={"n": each}))
        case "vms":
            await platform.vms.create(VMSpec(name=each))
        case "workers":
            info = WorkerInfo(f"wrk_000000000000000{each}", each)
            await platform.store.workers.register(info, lease_s=60.0)
        case _:
            await _make_access(platform, name, each)


async def _make_access(platform: Platform, name: str, each: str) -> None:
    match name:
        case "keys":
            await platform.keys.create(each, project_id=DEFAULT_PROJECT, role=Role.VIEWER, by="test")
        case "members":
            await platform.members.add(DEFAULT_PROJECT, _SUBJECT + each, Role.ADMIN, by="test")
        case "secrets":
            await platform.secrets.set(each.upper(), "value")


@pytest.mark.parametrize("name", _REQUESTS)
async def test_both_orders_in_pages(served: Served, channel: Channel, name: str) -> None:
    await served.platform.vms.create(VMSpec(name="box"))
    lists = Lists(channel)
    before = (await lists.page(name))[0]
    for each in ("b", "c", "a"):
        await _make(served, name, each)
        await asyncio.sleep(0.002)  # ids sort by milliseconds
    assert await lists.all(name, sort=lists_pb2.SORT_OLDEST) == [*before, "b", "c", "a"]
    assert await lists.all(name, sort=lists_pb2.SORT_NEWEST) == ["a", "c", "b", *reversed(before)]
    assert not await lists.all(name, created_before=_PAST)
    assert not await lists.all(name, created_after=_FUTURE)
    assert len(await lists.all(name, created_after=_PAST, created_before=_FUTURE)) == len(before) + 3
    if name in _BY_TIME:
        with pytest.raises(AioRpcError) as caught:
            await lists.page(name, sort=lists_pb2.SORT_NAME)
        assert (caught.value.code(), told(caught.value).details["field"]) == (
            StatusCode.INVALID_ARGUMENT,
            "sort",
        )
    else:
        assert await lists.all(name, sort=lists_pb2.SORT_NAME) == sorted([*before, "a", "b", "c"])
        begin = {"members": f"{_SUBJECT}c", "secrets": "C"}.get(name, "c")
        assert await lists.all(name, sort=lists_pb2.SORT_NAME_DOWN, name=begin) == ["c"]


async def test_a_cursor_is_of_its_list_and_its_order(channel: Channel, vm: VM) -> None:
    stub: VMServiceAsyncStub = VMServiceStub(channel)
    await stub.Fork(vms_pb2.VMServiceForkRequest(ref="box"))
    cursor = (await stub.List(vms_pb2.VMServiceListRequest(limit=1))).next_cursor
    for request in (
        vms_pb2.VMServiceListRequest(cursor=cursor, sort=lists_pb2.SORT_NAME),
        vms_pb2.VMServiceListRequest(cursor=vm.id),
        vms_pb2.VMServiceListRequest(limit=1001),
    ):
        with pytest.raises(AioRpcError) as caught:
            await stub.List(request)
        assert caught.value.code() is StatusCode.INVALID_ARGUMENT


async def test_what_else_is_asked_for(served: Served, channel: Channel, vm: VM) -> None:
    platform, lists = served.platform, Lists(channel)
    await platform.executions.start("box", ExecutionSpec(("sleep", "60")))
    await platform.executions.run("box", ExecutionSpec(("true",)))
    running = executions_pb2.EXECUTION_STATE_RUNNING
    assert await lists.all("executions", states=[running]) == ["60"]
    labelled = await platform.vms.create(VMSpec(name="labelled", labels={"a": "b"}))
    await platform.snapshots.create(labelled.id, name="s1")
    await platform.snapshots.create(vm.id, name="s2")
    assert await lists.all("snapshots", labels={"a": "b"}) == ["s1"]
    assert len(await lists.all("snapshots", states=[snapshots_pb2.SNAPSHOT_STATE_READY])) == 2
    assert not await lists.all("snapshots", states=[snapshots_pb2.SNAPSHOT_STATE_FAILED])
    for name in ("on", "off"):
        await platform.schedules.create(name, _EVERY_HOUR)
    await platform.schedules.pause("off")
    assert await lists.all("schedules", paused=True) == ["off"]
    assert await lists.all("schedules", paused=False) == ["on"]
    for each in ("old", "new"):
        await _make(served, "keys", each)
    await platform.keys.revoke("old")
    assert await lists.all("keys", revoked=True) == ["old"]
    assert await lists.all("keys", revoked=False) == ["new"]
    await _make(served, "members", "ada")
    await platform.members.add(DEFAULT_PROJECT, f"{_SUBJECT}bob", Role.VIEWER, by="test")
    assert await lists.all("members", role=members_pb2.ROLE_VIEWER) == ["bob"]
    await _make(served, "secrets", "A")
    await platform.secrets.set("B", "value", scope=SecretScope.JOB, target="check")
    assert await lists.all("secrets", scope=secrets_pb2.SECRET_SCOPE_JOB) == ["b"]
    lab = await platform.projects.create("lab")
    await platform.tasks.submit(TaskSpec("system.noop", labels={"n": "1"}), project=lab.id)
    await platform.tasks.submit(TaskSpec("system.noop", labels={"n": "2"}))
    assert await lists.all("tasks", project="lab") == ["1"]
    assert await lists.all("tasks", labels={"n": "2"}) == ["2"]
    assert not await lists.all("tasks", worker=new_id(WORKER))
