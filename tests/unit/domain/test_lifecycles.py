"""Every lifecycle: what its table promises, whatever path is taken through it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherium.domain.errors import InvalidTransition
from aetherium.domain.executions import EXECUTION_LIFECYCLE
from aetherium.domain.images import IMAGE_LIFECYCLE
from aetherium.domain.jobs import JOB_LIFECYCLE
from aetherium.domain.lifecycle import Lifecycle
from aetherium.domain.snapshots import SNAPSHOT_LIFECYCLE
from aetherium.domain.tasks import TASK_LIFECYCLE
from aetherium.domain.vms import VM_LIFECYCLE

LIFECYCLES: dict[str, Lifecycle[Any]] = {
    "VM": VM_LIFECYCLE,
    "Execution": EXECUTION_LIFECYCLE,
    "Snapshot": SNAPSHOT_LIFECYCLE,
    "Image": IMAGE_LIFECYCLE,
    "Job": JOB_LIFECYCLE,
    "Task": TASK_LIFECYCLE,
}
each = pytest.mark.parametrize("name", LIFECYCLES)


def states(lifecycle: Lifecycle[Any]) -> list[StrEnum]:
    """All states of a lifecycle."""
    return list(lifecycle.table)


@each
def test_the_table_names_every_state(name: str) -> None:
    lifecycle = LIFECYCLES[name]
    kind = type(states(lifecycle)[0])
    assert set(lifecycle.table) == set(kind)


@each
def test_an_end_is_reached_from_every_state(name: str) -> None:
    lifecycle = LIFECYCLES[name]
    for state in states(lifecycle):
        seen, open_ = {state}, [state]
        while open_:
            for following in lifecycle.table[open_.pop()]:
                if following not in seen:
                    seen.add(following)
                    open_.append(following)
        assert any(lifecycle.is_final(reached) for reached in seen), state


@each
def test_nothing_leaves_an_end(name: str) -> None:
    lifecycle = LIFECYCLES[name]
    for end in filter(lifecycle.is_final, states(lifecycle)):
        for state in states(lifecycle):
            with pytest.raises(InvalidTransition):
                lifecycle.check(end, state)


@each
def test_only_what_the_table_has_is_let_through(name: str) -> None:
    lifecycle = LIFECYCLES[name]

    @given(st.sampled_from(states(lifecycle)), st.sampled_from(states(lifecycle)))
    def agrees(current: StrEnum, wanted: StrEnum) -> None:
        if wanted in lifecycle.table[current]:
            lifecycle.check(current, wanted)
            return
        with pytest.raises(InvalidTransition) as caught:
            lifecycle.check(current, wanted)
        assert caught.value.details == {"kind": lifecycle.kind, "current": current, "wanted": wanted}

    agrees()
