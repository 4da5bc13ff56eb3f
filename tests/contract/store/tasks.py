"""What a store has to do for tasks."""

from __future__ import annotations

from tests.contract.store.accepting import AcceptingContract
from tests.contract.store.attempts import AttemptsContract
from tests.contract.store.handling import HandlingContract
from tests.contract.store.placing import PlacingContract


class TasksContract(AcceptingContract, PlacingContract, AttemptsContract, HandlingContract):
    """The TaskRepository."""
