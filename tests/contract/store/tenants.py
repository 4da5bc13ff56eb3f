"""What a store has to do to keep projects apart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from aetherium.domain.errors import AlreadyExists, NotFound
from aetherium.domain.events import Event
from aetherium.domain.ids import new_id
from aetherium.domain.projects import Project
from aetherium.domain.schedules import Schedule, ScheduleSpec
from aetherium.domain.snapshots import Snapshot, SnapshotState
from aetherium.domain.tasks import TaskSpec
from aetherium.domain.vms import Resources, VMState
from aetherium.interfaces.store import Store
from tests.contract.store.values import BEGIN, DIGEST, a_job, a_leader, a_task, a_vm, an_execution

OURS, THEIRS = "prj_0000000000000001", "prj_0000000000000002"


def a_snapshot(project_id: str, name: str) -> Snapshot:
    """One that is being made."""
    return Snapshot(
        new_id("snap"),
        name,
        new_id("vm"),
        "fake",
        DIGEST,
        Resources(),
        SnapshotState.CREATING,
        BEGIN,
        project_id=project_id,
    )


def a_schedule(project_id: str, name: str) -> Schedule:
    """One that never fires."""
    spec = ScheduleSpec(TaskSpec("test"), every_s=60.0)
    return Schedule(new_id("sched"), project_id, name, spec, BEGIN, None)


async def fill(store: Store, project_id: str) -> dict[str, str]:
    """One of each, all with the same name; their ids."""
    await store.projects.add(Project(project_id, f"p{project_id[-1]}", BEGIN))
    vm = replace(a_vm(name="same"), project_id=project_id)
    await store.vms.add(vm)
    execution, job = an_execution(vm), replace(a_job(), project_id=project_id)
    await store.executions.save([execution])
    snapshot, schedule = a_snapshot(project_id, "same"), a_schedule(project_id, "same")
    await store.snapshots.add(snapshot)
    await store.jobs.add(job)
    await store.schedules.add(schedule)
    task = (await store.tasks.accept([a_task(project_id=project_id)]))[0]
    return {
        "vm": vm.id,
        "execution": execution.id,
        "snapshot": snapshot.id,
        "job": job.id,
        "schedule": schedule.id,
        "task": task.id,
    }


class TenantsContract:
    """What a project sees."""

    async def test_a_project_finds_and_lists_its_own_things_only(self, store: Store) -> None:
        ours, theirs = await fill(store, OURS), await fill(store, THEIRS)
        view = store.of_project(OURS)
        finders: dict[str, Callable[[str], Awaitable[object]]] = {
            "vm": view.vms.find,
            "execution": view.executions.get,
            "snapshot": view.snapshots.find,
            "job": view.jobs.find,
            "schedule": view.schedules.find,
            "task": view.tasks.find,
        }
        for kind, find in finders.items():
            assert (await find(ours[kind])).id == ours[kind]  # type: ignore[attr-defined]
            for ref in (theirs[kind], theirs[kind][:-1]):
                with pytest.raises(NotFound):
                    await find(ref)
        for kind in ("vm", "snapshot", "schedule"):
            assert (await finders[kind]("same")).id == ours[kind]  # type: ignore[attr-defined]
        assert [vm.id for vm in await view.vms.list()] == [ours["vm"]]
        assert [each.id for each in await view.snapshots.list()] == [ours["snapshot"]]
        assert [each.id for each in await view.jobs.list()] == [ours["job"]]
        assert [each.id for each in await view.schedules.list()] == [ours["schedule"]]
        assert [each.id for each in await view.tasks.list()] == [ours["task"]]
        assert sum((await view.tasks.count()).values()) == 1
        assert [each.id for each in await view.projects.list()] == [OURS]
        with pytest.raises(NotFound):
            await view.projects.find(THEIRS)

    async def test_a_project_hears_of_its_own_events_only(self, store: Store) -> None:
        epoch = await a_leader(store)
        facts = [Event(new_id("evt"), "test.it", "x", project, BEGIN, {}) for project in (OURS, THEIRS)]
        await store.events.emit(facts)
        await store.events.relay(epoch)
        assert [event.project_id for event in await store.of_project(OURS).events.list()] == [OURS]

    async def test_names_are_free_in_another_project(self, store: Store) -> None:
        await fill(store, OURS)
        await fill(store, THEIRS)
        with pytest.raises(AlreadyExists):
            await store.vms.add(replace(a_vm(name="same"), project_id=OURS))
        with pytest.raises(AlreadyExists):
            await store.snapshots.add(a_snapshot(OURS, "same"))

    async def test_a_vm_of_a_pool_becomes_a_projects(self, store: Store) -> None:
        vm = a_vm()
        await store.vms.add(vm)
        await store.vms.transition(vm.id, VMState.RUNNING)
        view = store.of_project(OURS)
        assert await view.vms.list() == []
        await store.vms.claim(vm.id, owner="me", spec=vm.spec, project=OURS, heir=None, at=BEGIN)
        assert [each.id for each in await view.vms.list()] == [vm.id]
