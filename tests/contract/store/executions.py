"""What a store has to do for executions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aetherium.domain.errors import NotFound
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
from aetherium.interfaces.store import Store
from tests.contract.store.databases import Stores
from tests.contract.store.values import BEGIN, a_vm, an_execution


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

    async def test_a_worker_sees_those_of_its_vms(self, stores: Stores) -> None:
        one, other = stores.seen_by("wkr_1"), stores.seen_by("wkr_2")
        vm = a_vm()
        await one.vms.add(vm)
        execution = an_execution(vm)
        await other.executions.save([execution])
        assert await stores.store.executions.list(vm.id) == []
        await one.executions.save([execution])
        assert await one.executions.busy() == await stores.store.executions.busy() == {vm.id: 1}
        assert await other.executions.busy() == {}
        assert await other.executions.list(vm.id) == []
        assert await other.executions.lose(vm.id, BEGIN) == 0
        with pytest.raises(NotFound):
            await other.executions.get(execution.id)
        assert await one.executions.get(execution.id) == execution
