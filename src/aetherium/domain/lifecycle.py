"""A lifecycle: one enum and one transition table, decided by pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from aetherium.domain.errors import InvalidTransition

StateT = TypeVar("StateT", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Lifecycle(Generic[StateT]):
    """Which state may follow which.

    Args:
        kind: what goes through these states, for messages ("VM").
        table: for each state the states that may follow it; a state with none is final.
    """

    kind: str
    table: Mapping[StateT, frozenset[StateT]]

    def check(self, current: StateT, wanted: StateT, ref: str = "") -> None:
        """Raise InvalidTransition unless `wanted` may follow `current`."""
        if wanted not in self.table[current]:
            subject = f"{self.kind} {ref}".rstrip()
            allowed = ", ".join(sorted(self.table[current])) or "nothing, it is final"
            raise InvalidTransition(
                f"{subject} is {current} and cannot become {wanted}.",
                hint=f"From here it can become: {allowed}.",
                kind=self.kind,
                current=str(current),
                wanted=str(wanted),
            )

    def allows(self, current: StateT, wanted: StateT) -> bool:
        """Whether `wanted` may follow `current`."""
        return wanted in self.table[current]

    def is_final(self, state: StateT) -> bool:
        """Whether nothing can follow `state`."""
        return not self.table[state]

    def before(self, wanted: StateT) -> frozenset[StateT]:
        """The states from which `wanted` can be reached in one step: the guard of a compare-and-set."""
        return frozenset(state for state, after in self.table.items() if wanted in after)
