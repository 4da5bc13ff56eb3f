"""Nothing of the platform is reached without a permission, and what is changed is recorded."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from aetherium.domain.audit import AuditEvent
from aetherium.domain.errors import Forbidden, InvalidInput, LimitExceeded, NotFound, Unavailable
from aetherium.domain.executions import ExecutionSpec
from aetherium.domain.identity import ALL, INSTALLATION, LOCAL, PERMISSIONS, Caller, Role, checked_scopes
from aetherium.domain.jobs import DirectorySource, GitSource, JobSpec, JobStep
from aetherium.domain.projects import Quota
from aetherium.domain.schedules import ScheduleSpec
from aetherium.domain.tasks import Priority, TaskSpec, TaskState
from aetherium.domain.vms import Resources, VMSpec
from aetherium.gateway.access import Known, Platform
from aetherium.gateway.access.files import Files
from aetherium.interfaces.pool import POOL_LABEL, REQUEST_LABEL
from aetherium.services.cluster_vms import VMMaker
from tests.fixtures.platform import data_dir, fake_platform
from tests.fixtures.waiting import eventually

__all__ = ["data_dir"]

_SMALL = Resources(1, 128, 16)
# Properties of a guarded class that are the same for all.
_OPEN = {"types"}


class Auditor:
    """Keeps what it is told, or is away."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.away = False

    async def record(self, event: AuditEvent) -> None:
        if self.away:
            raise Unavailable("The audit log is away.")
        self.events.append(event)

    def note(self, event: AuditEvent) -> None:
        self.events.append(event)


class Audited:
    """The services of a platform with an audit log of the test's."""

    def __init__(self, services: Any, auditor: Auditor) -> None:
        self.auditor = auditor
        self._services = services

    def __getattr__(self, name: str) -> Any:
        return getattr(self._services, name)


def guarded() -> Iterator[tuple[str, Any]]:
    """All methods that callers reach."""
    parts = [
        value.func for value in vars(Platform).values() if isinstance(value, type(Platform.__dict__["vms"]))
    ]
    kinds = [get_type_hints(part)["return"] for part in parts]
    for kind in (*kinds, Files):
        for name, value in vars(kind).items():
            if not name.startswith("_") and name not in _OPEN:
                yield f"{kind.__name__}.{name}", value


def caller(project: str, role: Role = Role.ADMIN, **more: Any) -> Caller:
    return Caller("key:test", role, project_id=project, **more)


def test_every_method_says_what_it_needs() -> None:
    found = dict(guarded())
    assert len(found) > 60
    without = [name for name, method in found.items() if getattr(method, "permission", "") not in ALL]
    assert without == []


def test_each_role_includes_those_before_it() -> None:
    assert PERMISSIONS[Role.VIEWER] < PERMISSIONS[Role.OPERATOR] < PERMISSIONS[Role.ADMIN]
    assert all(permission.endswith(":read") for permission in PERMISSIONS[Role.VIEWER])
    assert not PERMISSIONS[Role.ADMIN] & INSTALLATION


@pytest.mark.parametrize(
    ("scopes", "permission", "allowed"),
    [
        ({"vms:read"}, "vms:read", True),
        ({"vms:read"}, "vms:write", False),
        ({"vms:*"}, "vms:write", True),
        ({"*:read"}, "tasks:read", True),
        ({"*"}, "tasks:write", True),
        (set(), "vms:read", False),
        ({"secrets:write"}, "secrets:write", False),
    ],
)
def test_scopes_narrow_a_role(scopes: set[str], permission: str, allowed: bool) -> None:
    assert caller("p", Role.OPERATOR, scopes=frozenset(scopes)).may(permission) is allowed


def test_a_scope_that_allows_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="vm:read"):
        checked_scopes(frozenset({"vm:read"}))


def test_only_the_installations_administrators_see_all_projects() -> None:
    with pytest.raises(ValueError, match="all projects"):
        Caller("key:test", Role.ADMIN)


async def test_another_projects_things_are_not_there(data_dir: Path) -> None:
    async with fake_platform(data_dir, forkable=True) as services:
        first = (await services.projects.create("first")).id
        second = (await services.projects.create("second")).id
        known = Known()
        ours = Platform(services, caller(first), known)
        theirs = Platform(services, caller(second), known)
        vm = await ours.vms.create(VMSpec(name="box"))
        assert vm.project_id == first
        fork = (await ours.vms.fork(vm.id))[0]
        assert fork.project_id == first
        snapshot = await ours.snapshots.create(vm.id, name="warm")
        execution, _, _ = await ours.executions.run("box", ExecutionSpec(("true",)))
        job = await ours.jobs.submit(JobSpec((JobStep("a", run="true"),), patch=False))
        task = await ours.tasks.submit(TaskSpec("system.noop"))
        for call in (
            theirs.vms.get(vm.id),
            theirs.vms.get("box"),
            theirs.vms.get(vm.id[:-2]),
            theirs.vms.delete(vm.id),
            theirs.vms.create(VMSpec(), snapshot=snapshot.id),
            theirs.snapshots.get("warm"),
            theirs.executions.get(execution.id),
            theirs.executions.run(vm.id, ExecutionSpec(("true",))),
            theirs.jobs.get(job.id),
            theirs.tasks.get(task.id),
            theirs.tasks.submit(TaskSpec("system.noop", after=(task.id,))),
            theirs.projects.get("first"),
        ):
            with pytest.raises(NotFound):
                await call
        assert await theirs.vms.list() == []
        assert await theirs.jobs.list() == []
        assert await theirs.tasks.list() == []
        assert await theirs.snapshots.list() == []
        assert await theirs.tasks.cancel_many(ids={task.id}) == 0
        assert [each.name for each in await theirs.projects.list()] == ["second"]
        assert {each.id for each in await ours.vms.list()} >= {vm.id, fork.id}
        assert (await theirs.vms.create(VMSpec(name="box"))).project_id == second


async def test_nothing_is_put_into_another_project(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as services:
        first = (await services.projects.create("first")).id
        second = (await services.projects.create("second")).id
        theirs = Platform(services, caller(second), Known())
        plan = ScheduleSpec(TaskSpec("system.noop"), every_s=60.0)
        for project in (first, "first", "default"):
            for call in (
                theirs.tasks.submit(TaskSpec("system.noop"), project=project),
                theirs.tasks.submit_many([TaskSpec("system.noop")], project=project),
                theirs.jobs.submit(JobSpec((JobStep("a", run="true"),)), project=project),
                theirs.schedules.create("x", plan, project=project),
                theirs.members.list(project=project),
                theirs.members.add("oidc:https://idp.example#x", Role.ADMIN, project=project),
                theirs.keys.create("x", role=Role.VIEWER, project=project),
            ):
                with pytest.raises((NotFound, Forbidden)):
                    await call
        assert (await theirs.tasks.submit(TaskSpec("system.noop"), project="second")).project_id == second


async def test_tasks_reach_no_vm_of_another_project(data_dir: Path) -> None:
    async with fake_platform(data_dir) as services:
        first = (await services.projects.create("first")).id
        second = (await services.projects.create("second")).id
        vm = await services.vms.create(VMSpec(), project=first)
        theirs = Platform(services, caller(second), Known())
        for kind, payload in (
            ("vm.exec", {"vm_id": vm.id, "argv": ["true"]}),
            ("vm.delete", {"vm_id": vm.id}),
        ):
            task = await theirs.tasks.submit(TaskSpec(kind, payload))
            ended = await theirs.tasks.wait(task.id)
            assert (ended.state, ended.result) in (
                (TaskState.DEAD, None),
                (TaskState.SUCCEEDED, {"deleted": False}),
            )
        assert (await services.vms.get(vm.id)).id == vm.id


async def test_what_a_role_does_not_allow_is_refused_and_recorded(data_dir: Path) -> None:
    auditor = Auditor()
    async with fake_platform(data_dir, background=False) as services:
        audited: Any = Audited(services, auditor)
        viewer = Platform(audited, caller("default", Role.VIEWER, address="192.0.2.1"), Known())
        for call in (viewer.vms.create(VMSpec()), viewer.workers.list(), viewer.queues.list()):
            with pytest.raises(Forbidden):
                await call
        with pytest.raises(Forbidden):
            async with viewer.vms.guest("x"):
                pass
        assert await viewer.vms.list() == []
        only_tasks = caller("default", Role.OPERATOR, scopes=frozenset({"tasks:*"}))
        with pytest.raises(Forbidden, match="executions:write"):
            await Platform(audited, only_tasks, Known()).tasks.submit(
                TaskSpec("vm.exec", {"vm_id": "x", "argv": ["true"]})
            )
        without = caller("default", Role.OPERATOR, scopes=frozenset({"executions:*", "jobs:*", "tasks:*"}))
        limited = Platform(audited, without, Known())
        steps = (JobStep("a", run="true", secrets=("TOKEN",)),)
        for use in (
            limited.executions.run("x", ExecutionSpec(("true",), secret_names=("TOKEN",))),
            limited.jobs.submit(JobSpec(steps)),
            limited.tasks.submit(
                TaskSpec("vm.exec", {"vm_id": "x", "argv": ["true"], "secret_names": ["TOKEN"]})
            ),
        ):
            with pytest.raises(Forbidden, match="secrets:use"):
                await use
    refused = auditor.events[0]
    assert (refused.action, refused.outcome, refused.address) == ("vm.create", "forbidden", "192.0.2.1")


async def test_changes_are_recorded_before_they_are_made(data_dir: Path) -> None:
    auditor = Auditor()
    async with fake_platform(data_dir, background=False) as services:
        audited: Any = Audited(services, auditor)
        platform = Platform(audited, replace(LOCAL, request_id="r1"), Known())
        vm = await platform.vms.create(VMSpec())
        async with platform.vms.guest(vm.id) as files:
            await files.write(str(data_dir / "note.txt"), b"x")
        with pytest.raises(NotFound):
            await platform.vms.delete("nothing")
        note = f"{vm.id}:{data_dir / 'note.txt'}"
        found = [(each.action, each.resource, each.outcome) for each in auditor.events]
        assert found == [
            ("vm.create", "", "begun"),
            ("vm.create", vm.id, "ok"),
            ("file.write", note, "begun"),
            ("file.write", note, "ok"),
            ("vm.delete", "nothing", "begun"),
            ("vm.delete", "nothing", "not_found"),
        ]
        assert {each.request_id for each in auditor.events} == {"r1"}
        auditor.away = True
        with pytest.raises(Unavailable):
            await platform.vms.delete(vm.id)
        assert (await platform.vms.get(vm.id)).id == vm.id


async def test_one_request_makes_one_vm_though_nobody_was_told(data_dir: Path) -> None:
    async with fake_platform(data_dir, forkable=True) as services:
        platform = Platform(services, caller("default"), Known())
        first = await platform.vms.create(VMSpec(resources=_SMALL), mark="ex_1")
        assert (await platform.vms.create(VMSpec(resources=_SMALL), mark="ex_1")).id == first.id
        assert first.spec.labels == {REQUEST_LABEL: "ex_1"}
        (fork,) = await platform.vms.fork(first.id)
        snapshot = await platform.snapshots.create(first.id)
        assert fork.spec.labels == snapshot.labels == {}
        other = (await services.projects.create("other")).id
        elsewhere = Platform(services, caller(other), Known())
        assert (await elsewhere.vms.create(VMSpec(resources=_SMALL), mark="ex_1")).id != first.id
        await platform.vms.delete(first.id)
        assert (await platform.vms.create(VMSpec(resources=_SMALL), mark="ex_1")).id != first.id


async def test_a_repeated_fork_has_the_copies_in_the_order_of_their_names(data_dir: Path) -> None:
    async with fake_platform(data_dir, forkable=True) as services:
        platform = Platform(services, caller("default"), Known())
        parent = await platform.vms.create(VMSpec(resources=_SMALL))
        names = ("b", "c", "a")
        first, again = [await platform.vms.fork(parent.id, 3, names=names, mark="ex_1") for _ in range(2)]
        assert [vm.spec.name for vm in first] == [vm.spec.name for vm in again] == list(names)
        assert [vm.id for vm in first] == [vm.id for vm in again]


async def test_a_cluster_makes_one_vm_for_one_key(data_dir: Path) -> None:
    async with fake_platform(data_dir) as services:
        maker = VMMaker(services.store, services.tasks)
        spec = VMSpec(resources=_SMALL, labels={REQUEST_LABEL: "k"})
        first, second = await asyncio.gather(maker.create(spec), maker.create(spec))
        assert first.id == second.id
        wanted = VMSpec(resources=_SMALL, labels={REQUEST_LABEL: "other"})
        await services.queues.pause(Priority.DEFAULT)
        waiting = asyncio.ensure_future(maker.create(wanted))

        async def submitted() -> bool:
            return bool(await services.tasks.list(states={TaskState.QUEUED}))

        await eventually(submitted)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await services.queues.resume(Priority.DEFAULT)
        assert (await maker.create(wanted)).spec.labels[REQUEST_LABEL] == "other"


async def test_a_quota_names_what_uses_it(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as services:
        small = Resources(vcpus=1, memory_mib=128, disk_mib=16)
        project = await services.projects.create("small", quota=Quota(vms=2, vcpus=2, disk_mib=32))
        platform = Platform(services, caller(project.id), Known())
        await platform.vms.create(VMSpec(name="first", resources=small))
        with pytest.raises(LimitExceeded, match="2 vcpus: 1 in use by first, 2 asked for") as refused:
            await platform.vms.create(VMSpec(resources=replace(small, vcpus=2)))
        assert refused.value.details["limit"] == "vcpus"
        await platform.vms.create(VMSpec(resources=small))
        with pytest.raises(LimitExceeded, match="2 vms: 2 in use"):
            await platform.vms.create(VMSpec(resources=small))
        elsewhere = Platform(services, caller("default"), Known())
        await elsewhere.vms.create(VMSpec(resources=small))


async def test_what_waits_in_a_pool_is_nobodys(data_dir: Path) -> None:
    pool = [{"minimum": 1, "maximum": 1, "memory_mib": 128, "disk_mib": 16}]
    async with fake_platform(data_dir, pool=pool) as services:

        async def waits() -> bool:
            return services.pools.ready() == 1

        await eventually(waits)
        (waiting,) = await services.host.store.vms.list()
        platform = Platform(services, caller("default"), Known())
        assert await platform.vms.list(labels={POOL_LABEL: waiting.spec.labels[POOL_LABEL]}) == []
        with pytest.raises(NotFound):
            await platform.executions.run(waiting.id, ExecutionSpec(("true",)))
        taken = await platform.vms.create(VMSpec(resources=Resources(1, 128, 16)))
        assert (taken.id, taken.project_id) == (waiting.id, "default")


async def test_labels_of_the_platform_and_files_of_its_host_are_not_for_callers(data_dir: Path) -> None:
    async with fake_platform(data_dir, background=False) as services:
        platform = Platform(services, caller("default"), Known())
        with pytest.raises(InvalidInput, match=r"aetherium\.pool"):
            await platform.vms.create(VMSpec(labels={"aetherium.pool": "x"}))
        hidden = TaskSpec("vm.create", {"spec": {"labels": {"aetherium.pool": "x"}}})
        with pytest.raises(InvalidInput, match=r"aetherium\.pool"):
            await platform.tasks.submit(hidden)
        with pytest.raises(InvalidInput, match=r"aetherium\.pool"):
            await platform.schedules.create("x", ScheduleSpec(hidden, every_s=60.0))
        steps = (JobStep("a", run="true"),)
        for source in (
            DirectorySource("/etc"),
            GitSource("file:///srv/secret.git"),
            GitSource("ssh://git@host/x"),
            GitSource("/srv/secret.git"),
        ):
            with pytest.raises(InvalidInput, match="gateway's host"):
                await platform.jobs.submit(JobSpec(steps, source=source))
        asked = JobSpec(steps, source=GitSource("https://example.org/a", guarded=False))
        made = await platform.jobs.submit(asked)
        assert made.spec.source == GitSource("https://example.org/a", guarded=True)
        local = Platform(services, LOCAL, Known())
        assert (await local.jobs.submit(asked)).spec.source == asked.source


def test_methods_keep_their_kind() -> None:
    """What is marked can still be called as before."""
    found = dict(guarded())
    assert inspect.iscoroutinefunction(found["VMs.create"])
    assert inspect.isasyncgenfunction(found["Jobs.events"])
