"""What a store has to do for VMs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from aetherium.domain.errors import AlreadyExists, InvalidInput, InvalidTransition, NotFound
from aetherium.domain.ids import new_id
from aetherium.domain.vms import NetworkMode, NetworkPolicy, Resources, VMSpec, VMState
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores
from tests.contract.store.values import BEGIN, a_vm, an_execution


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
        assert (
            await store.vms.claim(vm.id, owner="me", spec=spec, project="default", heir=None, at=later)
            is None
        )
        await store.vms.transition(vm.id, VMState.RUNNING)
        assert (
            await store.vms.claim(vm.id, owner="you", spec=spec, project="default", heir=None, at=later)
            is None
        )
        claimed = await store.vms.claim(vm.id, owner="me", spec=spec, project="default", heir=None, at=later)
        assert claimed is not None
        assert (claimed.spec, claimed.owner, claimed.created_at) == (spec, None, later)
        assert (await store.vms.find("mine")).id == vm.id
        assert (
            await store.vms.claim(vm.id, owner="me", spec=spec, project="default", heir=None, at=later)
            is None
        )

    async def test_a_claim_does_not_take_a_living_name(self, store: Store) -> None:
        vm = a_vm()
        await store.vms.add(a_vm(name="taken"))
        await store.vms.add(vm)
        await store.vms.transition(vm.id, VMState.RUNNING)
        with pytest.raises(AlreadyExists):
            await store.vms.claim(
                vm.id, owner="me", spec=VMSpec(name="taken"), project="default", heir=None, at=BEGIN
            )

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

    async def test_a_worker_sees_its_own(self, stores: Stores) -> None:
        one, other = stores.seen_by("wkr_1"), stores.seen_by("wkr_2")
        vm, strange = a_vm(name="mine"), a_vm(name="theirs")
        await one.vms.add(vm)
        await other.vms.add(strange)
        assert [each.id for each in await one.vms.list()] == [vm.id]
        assert (await one.vms.find("mine")).worker_id == "wkr_1"
        for ref in (strange.id, "theirs", strange.id[:19]):
            with pytest.raises(NotFound):
                await one.vms.find(ref)
        with pytest.raises(NotFound):
            await one.vms.get(strange.id)
        assert {each.id for each in await stores.store.vms.list()} == {vm.id, strange.id}

    async def test_a_worker_changes_its_own(self, stores: Stores) -> None:
        one, other = stores.seen_by("wkr_1"), stores.seen_by("wkr_2")
        vm, later = a_vm(), BEGIN + timedelta(seconds=9)
        await one.vms.add(vm)
        before = await one.vms.transition(vm.id, VMState.RUNNING)
        with pytest.raises(NotFound):
            await other.vms.transition(vm.id, VMState.PAUSED)
        with pytest.raises(NotFound):
            await other.vms.edit(vm.id, lambda row: replace(row, reason="x"))
        assert (
            await other.vms.claim(vm.id, owner="me", spec=VMSpec(), project="default", heir=None, at=later)
            is None
        )
        await other.vms.touch({vm.id: later})
        assert not await other.vms.remove(vm.id)
        assert await stores.store.vms.get(vm.id) == before

    async def test_a_name_is_unique_whoever_has_it(self, stores: Stores) -> None:
        await stores.seen_by("wkr_1").vms.add(a_vm(name="one"))
        with pytest.raises(AlreadyExists):
            await stores.seen_by("wkr_2").vms.add(a_vm(name="one"))
