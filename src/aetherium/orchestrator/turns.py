"""Whose turn it is: priorities by weight or strictly, projects in turns, types of a project in turns.

Smooth weighted round robin over the priorities that have something (as nginx does it for its upstreams):
each gains its weight, the richest one goes, and pays the sum of all weights. Within a priority the project
that was served longest ago comes next, and within the project the type.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping, Sequence

from aetherium.domain.tasks import Task
from aetherium.interfaces.task_store import Lane


class Turns:
    """Remembers who was served; forgets those that have nothing waiting.

    Args:
        weights: by rank. With `strict` a priority waits until those above it have nothing.
    """

    def __init__(self, weights: Mapping[int, int], *, strict: bool) -> None:
        self._weights = weights
        self._strict = strict
        self._credit: dict[int, float] = {}
        self._served: dict[tuple[int, str], int] = {}
        self._served_types: dict[Lane, int] = {}
        self._clock = 0

    def order(self, heads: Mapping[Lane, Sequence[Task]]) -> Generator[tuple[Lane, Task], bool, None]:
        """The waiting tasks of all lanes in the order of their turns, one lane's in their own. The consumer
        sends whether the task could not be placed: its lane is then left out, and its turn not paid."""
        waiting = {lane: deque(tasks) for lane, tasks in heads.items() if tasks}
        while waiting:
            rank = self._rank({lane.rank for lane in waiting})
            lane = self._lane([lane for lane in waiting if lane.rank == rank])
            skipped = yield lane, waiting[lane].popleft()
            if skipped or not waiting[lane]:
                del waiting[lane]
            if not skipped:
                self._pay(lane, {each.rank for each in waiting} | {rank})

    def forget(self, lanes: Sequence[Lane]) -> None:
        """Only these have something waiting."""
        projects = {(lane.rank, lane.project_id) for lane in lanes}
        self._served = {key: at for key, at in self._served.items() if key in projects}
        self._served_types = {lane: at for lane, at in self._served_types.items() if lane in set(lanes)}

    def _rank(self, ranks: set[int]) -> int:
        if self._strict or len(ranks) == 1:
            return min(ranks)
        return max(ranks, key=lambda rank: (self._credit.get(rank, 0.0) + self._weights[rank], -rank))

    def _lane(self, lanes: Sequence[Lane]) -> Lane:
        return min(
            lanes,
            key=lambda lane: (
                self._served.get((lane.rank, lane.project_id), 0),
                self._served_types.get(lane, 0),
                lane.project_id,
                lane.type,
            ),
        )

    def _pay(self, lane: Lane, ranks: set[int]) -> None:
        self._clock += 1
        self._served[lane.rank, lane.project_id] = self._clock
        self._served_types[lane] = self._clock
        for rank in ranks:
            self._credit[rank] = self._credit.get(rank, 0.0) + self._weights[rank]
        self._credit[lane.rank] -= sum(self._weights[rank] for rank in ranks)
        self._credit = {rank: credit for rank, credit in self._credit.items() if rank in ranks}
