"""What every Store has to do. Subclasses give a `store` fixture."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aetherium.domain.errors import AlreadyExists, InvalidInput, InvalidTransition, NotFound
from aetherium.domain.executions import (
    Execution,
    ExecutionLimits,
    ExecutionResult,
    ExecutionSpec,
    ExecutionState,
    ResourceUse,
    TerminalSize,
)
from aetherium.domain.ids import new_id
from aetherium.domain.jobs import (
    ArchiveSource,
    ArtifactRule,
    BundleSource,
    DirectorySource,
    GitSource,
    Job,
    JobSource,
    JobSpec,
    JobState,
    JobStep,
    PatchSummary,
    PhaseTiming,
    StepOutcome,
    StepResult,
    TestSummary,
)
from aetherium.domain.snapshots import Snapshot, SnapshotState
from aetherium.domain.vms import VM, NetworkMode, NetworkPolicy, Resources, VMSpec, VMState
from aetherium.interfaces.store import Store

BEGIN = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
DIGEST = "sha256:" + "0" * 64


def a_vm(at: datetime = BEGIN, **spec: Any) -> VM:
    """A VM that is being created."""
    wanted = replace(VMSpec(), **spec)
    return VM(new_id("vm"), wanted, VMState.CREATING, "fake", DIGEST, at, at, at, owner="me")


def an_execution(vm: VM, state: ExecutionState = ExecutionState.RUNNING) -> Execution:
    """An execution of `vm`."""
    return Execution(new_id("ex"), vm.id, ExecutionSpec(("true",)), state, BEGIN, BEGIN)


class VMsContract:
    """VMs."""

    async def test_a_vm_comes_back_as_it_was(self, store: Store) -> None:
        vm = a_vm(
            name="web",
            resources=Resources(2, 1024, 64),
            network=NetworkPolicy(NetworkMode.ALLOWLIST, ("example.org:443",)),
            ttl_s=1.5,
            labels={"a": "b"},
            env={"X": "ü\n"},
        )
        await store.vms.add(vm)
        assert await store.vms.get(vm.id) == vm

    async def test_it_is_found_by_id_name_and_prefix(self, store: Store) -> None:
        vm = a_vm(name="db")
        await store.vms.add(vm)
        for ref in (vm.id, "db", vm.id[:18]):
            assert (await store.vms.find(ref)).id == vm.id

    @pytest.mark.parametrize("ref", ["nothing", "vm_", "vm_%", "%", "", "vm_0000000000000000", "' OR 1=1 --"])
    async def test_what_is_not_there_is_not_found(self, store: Store, ref: str) -> None:
        await store.vms.add(a_vm())
        with pytest.raises(NotFound):
            await store.vms.find(ref)

    async def test_a_prefix_of_several_is_refused(self, store: Store) -> None:
        first, second = a_vm(), a_vm()
        await store.vms.add(first)
        await store.vms.add(second)
        common = next(first.id[:size] for size in range(19, 0, -1) if second.id.startswith(first.id[:size]))
        if len(common) >= 6:
            with pytest.raises(InvalidInput, match="fits several"):
                await store.vms.find(common)

    async def test_a_name_is_unique_among_the_living(self, store: Store) -> None:
        old = a_vm(name="one")
        await store.vms.add(old)
        with pytest.raises(AlreadyExists):
            await store.vms.add(a_vm(name="one"))
        await store.vms.transition(old.id, VMState.FAILED, reason="broken")
        new = a_vm(BEGIN - timedelta(days=1), name="one")
        await store.vms.add(new)
        assert (await store.vms.find("one")).id == new.id

    async def test_newest_first_and_filtered(self, store: Store) -> None:
        rows = [a_vm(BEGIN + timedelta(seconds=n), labels={"n": str(n % 2)}) for n in range(4)]
        for row in rows:
            await store.vms.add(row)
        await store.vms.transition(rows[0].id, VMState.RUNNING)
        assert [vm.id for vm in await store.vms.list()] == [row.id for row in reversed(rows)]
        assert [vm.id for vm in await store.vms.list(states=[VMState.RUNNING])] == [rows[0].id]
        assert [vm.id for vm in await store.vms.list(labels={"n": "1"})] == [rows[3].id, rows[1].id]

    async def test_a_transition_sets_what_goes_with_it(self, store: Store) -> None:
        vm = a_vm()
        await store.vms.add(vm)
        done = await store.vms.transition(vm.id, VMState.RUNNING, handle={"pid": 1}, owner=None)
        assert (done.state, done.handle, done.owner) == (VMState.RUNNING, {"pid": 1}, None)
        assert await store.vms.get(vm.id) == done

    async def test_a_refused_transition_changes_nothing(self, store: Store) -> None:
        vm = a_vm()
        await store.vms.add(vm)
        with pytest.raises(InvalidTransition):
            await store.vms.transition(vm.id, VMState.PAUSED, reason="no")
        with pytest.raises(InvalidTransition):
            await store.vms.transition(vm.id, VMState.FAILED, only_from={VMState.RUNNING}, reason="no")
        assert await store.vms.get(vm.id) == vm
        with pytest.raises(NotFound):
            await store.vms.transition(new_id("vm"), VMState.RUNNING)

    async def test_edit_keeps_id_state_and_creation(self, store: Store) -> None:
        vm = a_vm()
        await store.vms.add(vm)
        other = replace(a_vm(), state=VMState.FAILED, reason="edited", created_at=BEGIN + timedelta(1))
        done = await store.vms.edit(vm.id, lambda _: other)
        assert (done.id, done.state, done.created_at) == (vm.id, VMState.CREATING, vm.created_at)
        assert (await store.vms.get(vm.id)).reason == "edited"

    async def test_a_claim_succeeds_once(self, store: Store) -> None:
        vm, later = a_vm(labels={"pool": "x"}), BEGIN + timedelta(hours=1)
        await store.vms.add(vm)
        spec = VMSpec(name="mine")
        assert await store.vms.claim(vm.id, owner="me", spec=spec, heir=None, at=later) is None
        await store.vms.transition(vm.id, VMState.RUNNING)
        assert await store.vms.claim(vm.id, owner="you", spec=spec, heir=None, at=later) is None
        claimed = await store.vms.claim(vm.id, owner="me", spec=spec, heir=None, at=later)
        assert claimed is not None
        assert (claimed.spec, claimed.owner, claimed.created_at) == (spec, None, later)
        assert (await store.vms.find("mine")).id == vm.id
        assert await store.vms.claim(vm.id, owner="me", spec=spec, heir=None, at=later) is None

    async def test_a_claim_does_not_take_a_living_name(self, store: Store) -> None:
        vm = a_vm()
        await store.vms.add(a_vm(name="taken"))
        await store.vms.add(vm)
        await store.vms.transition(vm.id, VMState.RUNNING)
        with pytest.raises(AlreadyExists):
            await store.vms.claim(vm.id, owner="me", spec=VMSpec(name="taken"), heir=None, at=BEGIN)

    async def test_activity_never_goes_backwards(self, store: Store) -> None:
        vm, later = a_vm(), BEGIN + timedelta(seconds=9)
        await store.vms.add(vm)
        await store.vms.touch({vm.id: later, new_id("vm"): later})
        await store.vms.touch({vm.id: BEGIN})
        assert (await store.vms.get(vm.id)).last_active_at == later

    async def test_removing_takes_the_executions_along(self, store: Store) -> None:
        vm = a_vm()
        await store.vms.add(vm)
        execution = an_execution(vm)
        await store.executions.save([execution])
        assert await store.vms.remove(vm.id)
        assert not await store.vms.remove(vm.id)
        with pytest.raises(NotFound):
            await store.executions.get(execution.id)


class ExecutionsContract:
    """Executions."""

    async def test_an_execution_comes_back_without_its_secrets(self, store: Store) -> None:
        vm = a_vm()
        await store.vms.add(vm)
        spec = ExecutionSpec(
            ("sh", "-c", "x"), {"A": "b"}, {"S": "hidden"}, "/tmp", "root", 0o22, 1.5, TerminalSize(1, 2),
            True, ExecutionLimits(1, 2, 3, 4, 5), 77,
        )  # fmt: skip
        use = ResourceUse(0.25, 0.5, 9)
        result = ExecutionResult(ExecutionState.SIGNALED, None, 9, True, 0.125, 5, 6, use, "why")
        whole = Execution(
            new_id("ex"), vm.id, spec, ExecutionState.SIGNALED, BEGIN, BEGIN, BEGIN, result, ("S",)
        )
        await store.executions.save([whole])
        assert await store.executions.get(whole.id) == replace(whole, spec=replace(spec, secret_env={}))

    async def test_what_has_ended_stays_as_it_is(self, store: Store) -> None:
        vm = a_vm()
        await store.vms.add(vm)
        running = an_execution(vm)
        ended = replace(running, state=ExecutionState.EXITED, ended_at=BEGIN)
        await store.executions.save([running])
        await store.executions.save([ended])
        await store.executions.save([running, replace(ended, state=ExecutionState.LOST)])
        assert await store.executions.get(running.id) == ended

    async def test_those_of_a_vm_that_is_gone_are_passed_over(self, store: Store) -> None:
        here, gone = a_vm(), a_vm()
        await store.vms.add(here)
        kept = an_execution(here)
        await store.executions.save([an_execution(gone), kept])
        assert await store.executions.list(gone.id) == []
        assert await store.executions.list(here.id) == [kept]

    async def test_lost_are_those_that_had_not_ended(self, store: Store) -> None:
        vm = a_vm()
        await store.vms.add(vm)
        running, ended = an_execution(vm), replace(an_execution(vm, ExecutionState.EXITED), ended_at=BEGIN)
        await store.executions.save([running, ended])
        assert await store.executions.busy() == {vm.id: 1}
        assert await store.executions.list(vm.id, unfinished=True) == [running]
        assert await store.executions.lose(vm.id, BEGIN) == 1
        assert await store.executions.busy() == {}
        assert (await store.executions.get(running.id)).state is ExecutionState.LOST
        assert (await store.executions.get(ended.id)).state is ExecutionState.EXITED


class SnapshotsContract:
    """Snapshots."""

    async def test_the_life_of_a_snapshot(self, store: Store) -> None:
        snapshot = Snapshot(
            new_id("snap"), "nightly", new_id("vm"), "fake", DIGEST, Resources(), SnapshotState.CREATING,
            BEGIN, labels={"a": "b"}, owner="me",
        )  # fmt: skip
        await store.snapshots.add(snapshot)
        with pytest.raises(AlreadyExists):
            await store.snapshots.add(replace(snapshot, id=new_id("snap")))
        assert await store.snapshots.find("nightly") == snapshot
        with pytest.raises(InvalidTransition):
            await store.snapshots.transition(snapshot.id, SnapshotState.DELETING)
        ready = await store.snapshots.transition(
            snapshot.id, SnapshotState.READY, driver_data={"x": [1]}, size_bytes=1 << 40, owner=None
        )
        assert await store.snapshots.list() == [ready]
        assert (ready.driver_data, ready.size_bytes, ready.owner) == ({"x": [1]}, 1 << 40, None)
        assert await store.snapshots.remove(snapshot.id)
        with pytest.raises(NotFound):
            await store.snapshots.get(snapshot.id)


class JobsContract:
    """Jobs."""

    @pytest.mark.parametrize(
        "source",
        [
            None,
            GitSource("https://example.org/x.git", "main", None),
            DirectorySource("/srv/x"),
            BundleSource("/srv/x.bundle", "main", "/srv/x.patch"),
            ArchiveSource("/srv/x.tar", 1),
        ],
    )
    async def test_a_job_comes_back_as_it_was(self, store: Store, source: JobSource | None) -> None:
        steps = (JobStep("a", run="make"), JobStep("b", argv=("x", "y"), env={"A": "b"}, secrets=("S",)))
        spec = JobSpec(steps, source=source, artifacts=(ArtifactRule("**/*.xml", "reports"),), secrets=("S",))
        result = StepResult("a", StepOutcome.FAILED, "ex_1", ExecutionResult(ExecutionState.EXITED, 3), BEGIN)
        job = Job(
            new_id("job"), spec, JobState.RUNNING, BEGIN, steps=(result,), tests=TestSummary(3, 1),
            patch=PatchSummary("abc", "changes.patch", 1, 2, 3, 4), timings=(PhaseTiming("vm", 0.5),),
            owner="me",
        )  # fmt: skip
        await store.jobs.add(job)
        assert await store.jobs.get(job.id) == job
        assert await store.jobs.find(job.id[:17]) == job

    async def test_a_job_that_has_ended_is_not_changed(self, store: Store) -> None:
        job = Job(new_id("job"), JobSpec((JobStep("a", run="x"),)), JobState.PENDING, BEGIN)
        await store.jobs.add(job)
        running = await store.jobs.save(replace(job, state=JobState.RUNNING))
        await store.jobs.save(replace(running, commit="abc"))
        done = await store.jobs.save(replace(running, state=JobState.SUCCEEDED))
        for state in (JobState.SUCCEEDED, JobState.RUNNING, JobState.CANCELLED):
            with pytest.raises(InvalidTransition):
                await store.jobs.save(replace(done, state=state))
        assert await store.jobs.list(states=[JobState.SUCCEEDED]) == [done]
        assert await store.jobs.list(states=[JobState.RUNNING]) == []
        assert await store.jobs.remove(job.id)
        with pytest.raises(NotFound):
            await store.jobs.save(done)


class StoreContract(VMsContract, ExecutionsContract, SnapshotsContract, JobsContract):
    """All of it."""
