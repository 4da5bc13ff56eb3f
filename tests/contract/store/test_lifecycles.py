"""Random steps through the lifecycles: the store does what the table says, whoever asks."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from aetherium.domain.errors import InvalidTransition
from aetherium.domain.vms import VM_LIFECYCLE, VMState
from aetherium.interfaces.clock import SystemClock
from aetherium.storage.store import open_store
from tests.contract.store.values import a_vm

STATES = st.sampled_from(list(VMState))


@given(rounds=st.lists(st.tuples(STATES, STATES), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_of_two_at_once_as_many_succeed_as_the_table_allows(rounds: list[tuple[VMState, VMState]]) -> None:
    asyncio.run(_walk(rounds))


async def _walk(rounds: list[tuple[VMState, VMState]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with open_store(Path(directory) / "test.db", SystemClock()) as store:
            vm = a_vm()
            await store.vms.add(vm)
            state = vm.state
            for wanted in rounds:
                outcomes = await asyncio.gather(
                    *(store.vms.transition(vm.id, each) for each in wanted), return_exceptions=True
                )
                state = _expected(state, wanted, outcomes)
                assert (await store.vms.get(vm.id)).state is state


def _expected(state: VMState, wanted: tuple[VMState, VMState], outcomes: Sequence[object]) -> VMState:
    """The state after both, in an order that explains what came out."""
    for order in ((0, 1), (1, 0)):
        now, explained = state, True
        for index in order:
            allowed = VM_LIFECYCLE.allows(now, wanted[index])
            explained &= allowed != isinstance(outcomes[index], InvalidTransition)
            now = wanted[index] if allowed else now
        if explained:
            return now
    raise AssertionError(f"No order of {wanted} from {state} explains {outcomes}.")
