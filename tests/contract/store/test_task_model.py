"""The life of tasks as a model, compared with the store after each of many random steps."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from aetherium.domain.ids import new_id
from aetherium.domain.tasks import ACTIVE, WAITING, Retry, TaskState
from aetherium.domain.workers import WorkerInfo
from aetherium.interfaces.task_store import Outcome, Placement
from tests.contract.store.databases import Stores
from tests.contract.store.values import LONG_S, a_leader, a_task

T = TypeVar("T")

PAUSE_S = 30.0
ENDS = st.sampled_from(
    [TaskState.SUCCEEDED, TaskState.DEAD, TaskState.CANCELLED, TaskState.QUEUED, TaskState.SCHEDULED]
)
# Mostly the right number; a ticket or a worker may be late, too.
OFF_BY = st.sampled_from([0, 0, 0, 0, -1, 1])


@dataclass
class Expected:
    """What a task ought to be."""

    max_attempts: int
    waits_for: set[str]
    state: TaskState = TaskState.QUEUED
    attempt: int = 0
    failures: int = 0
    placed: bool = False


@dataclass
class Model:
    """What all tasks ought to be."""

    tasks: dict[str, Expected] = field(default_factory=dict)

    def accept(self, task_id: str, max_attempts: int, after: set[str]) -> None:
        before = {self.tasks[each].state for each in after}
        open_ones = {each for each in after if self.tasks[each].state is not TaskState.SUCCEEDED}
        task = self.tasks[task_id] = Expected(max_attempts, open_ones)
        if before & {TaskState.DEAD, TaskState.CANCELLED, TaskState.DISCARDED}:
            task.state = TaskState.DEAD
        elif open_ones:
            task.state = TaskState.BLOCKED

    def finish(self, task_id: str, end: TaskState, retried: TaskState = TaskState.SCHEDULED) -> None:
        task = self.tasks[task_id]
        if task.state is TaskState.CANCELLING and end is not TaskState.SUCCEEDED:
            self.end(task_id, TaskState.CANCELLED)
        elif end is TaskState.QUEUED:
            task.state, task.placed = TaskState.QUEUED, False
        elif end is TaskState.SCHEDULED:
            task.failures += 1
            if task.failures >= task.max_attempts:
                self.end(task_id, TaskState.DEAD)
            else:
                task.state, task.placed = retried, False
        else:
            self.end(task_id, end)

    def end(self, task_id: str, state: TaskState) -> None:
        task = self.tasks[task_id]
        task.placed = task.placed and task.state in ACTIVE
        task.state = state
        for other_id, other in self.tasks.items():
            if other.state is TaskState.BLOCKED and task_id in other.waits_for:
                if state is not TaskState.SUCCEEDED:
                    self.end(other_id, TaskState.DEAD)
                    continue
                other.waits_for.discard(task_id)
                if not other.waits_for:
                    other.state = TaskState.QUEUED

    def requeue(self, task_id: str) -> None:
        task = self.tasks[task_id]
        task.state, task.failures, task.placed = TaskState.QUEUED, 0, False

    def lose_worker(self) -> None:
        for task_id, task in self.tasks.items():
            if task.state in ACTIVE:
                self.finish(task_id, TaskState.SCHEDULED, retried=TaskState.QUEUED)  # without a pause
            elif task.state is TaskState.QUEUED:
                task.placed = False


class TaskMachine(RuleBasedStateMachine):
    """Random steps of callers, of the orchestrator and of one worker. Subclasses name the database; other
    runs use it as well: a project tells their tasks apart."""

    where: Path | str
    tasks: Bundle[str] = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self._model = Model()
        self._runner = asyncio.Runner()
        self._stores = self._do(_opened(self.where))
        self._store = self._stores.store
        self._project = new_id("prj")
        info = WorkerInfo(new_id("wkr"), "model")
        self._worker = self._do(self._store.workers.register(info, lease_s=LONG_S * 1000))

    def teardown(self) -> None:
        self._do(self._stores.__aexit__())
        self._runner.close()

    @initialize(target=tasks)
    def accept_the_first(self) -> str:
        return self._accept(2, [])

    @rule(target=tasks, max_attempts=st.integers(1, 3), after=st.lists(tasks, max_size=2))
    def accept(self, max_attempts: int, after: list[str]) -> str:
        return self._accept(max_attempts, after)

    def _accept(self, max_attempts: int, after: list[str]) -> str:
        new = a_task(
            project_id=self._project, retry=Retry(max_attempts, 0.0), after=tuple(after), key=new_id("key")
        )
        (task,) = self._do(self._store.tasks.accept([new]))
        (again,) = self._do(self._store.tasks.accept([new]))
        assert again.id == task.id
        self._model.accept(task.id, max_attempts, set(after))
        return task.id

    @rule(task_id=tasks)
    def place(self, task_id: str) -> None:
        epoch = self._do(a_leader(self._store))
        done = self._do(self._store.tasks.place([Placement(task_id, self._worker.id)], epoch))
        task = self._model.tasks[task_id]
        assert bool(done) == (task.state is TaskState.QUEUED and not task.placed)
        task.placed = task.placed or bool(done)

    @rule(task_id=tasks, off_by=OFF_BY, incarnation_off=OFF_BY)
    def claim(self, task_id: str, off_by: int, incarnation_off: int) -> None:
        task = self._model.tasks[task_id]
        done = self._do(
            self._store.tasks.claim(
                [(task_id, task.attempt + 1 + off_by)],
                self._worker.id,
                self._worker.incarnation + incarnation_off,
            )
        )
        can = task.state is TaskState.QUEUED and task.placed and not off_by and not incarnation_off
        assert len(done) == int(can)
        if can:
            task.state, task.attempt = TaskState.RUNNING, task.attempt + 1

    @rule(task_id=tasks, off_by=OFF_BY, end=ENDS)
    def finish(self, task_id: str, off_by: int, end: TaskState) -> None:
        task = self._model.tasks[task_id]
        outcome = Outcome(task_id, task.attempt + off_by, end, error_code="x", delay_s=PAUSE_S)
        done = self._do(self._store.tasks.finish([outcome]))
        can = task.state in ACTIVE and not off_by
        assert len(done) == int(can)
        if can:
            self._model.finish(task_id, end)

    @rule(ids=st.lists(tasks, min_size=1, max_size=3, unique=True))
    def cancel(self, ids: list[str]) -> None:
        done = self._do(self._store.tasks.cancel(ids))
        chosen = {task_id: self._model.tasks[task_id] for task_id in ids}
        waiting = [task_id for task_id, task in chosen.items() if task.state in WAITING]
        running = [task_id for task_id, task in chosen.items() if task.state is TaskState.RUNNING]
        assert {task.id for task in done} == {*waiting, *running}
        for task_id in waiting:  # together: none of them falls with another one
            chosen[task_id].state = TaskState.CANCELLED
        for task_id in waiting:
            chosen[task_id].placed = False
            self._model.end(task_id, TaskState.CANCELLED)
        for task_id in running:
            chosen[task_id].state = TaskState.CANCELLING

    @rule(task_id=tasks)
    def requeue(self, task_id: str) -> None:
        done = self._do(self._store.tasks.requeue([task_id]))
        can = self._model.tasks[task_id].state is TaskState.DEAD
        assert len(done) == int(can)
        if can:
            self._model.requeue(task_id)

    @rule(task_id=tasks)
    def discard(self, task_id: str) -> None:
        done = self._do(self._store.tasks.discard([task_id]))
        can = self._model.tasks[task_id].state is TaskState.DEAD
        assert len(done) == int(can)
        if can:
            self._model.tasks[task_id].state = TaskState.DISCARDED

    @rule()
    def let_a_pause_pass(self) -> None:
        self._stores.let_pass(PAUSE_S + 1)
        self._do(self._store.tasks.release_due())
        for task in self._model.tasks.values():
            if task.state is TaskState.SCHEDULED:
                task.state = TaskState.QUEUED

    @rule()
    def lose_the_worker(self) -> None:
        self._worker = self._do(self._store.workers.register(self._worker.info, lease_s=LONG_S * 1000))
        self._model.lose_worker()

    @invariant()
    def the_store_agrees(self) -> None:
        rows = {task.id: task for task in self._do(self._store.tasks.list(project_id=self._project))}
        assert rows.keys() == self._model.tasks.keys()
        for task_id, task in self._model.tasks.items():
            row = rows[task_id]
            assert (row.state, row.attempt, row.failures) == (task.state, task.attempt, task.failures)
            assert (row.worker_id == self._worker.id) == task.placed, (row, task)
            assert (row.ended_at is not None) == (task.state not in WAITING | ACTIVE)

    @invariant()
    def what_is_queued_and_not_placed_can_be_found(self) -> None:
        lanes = [each for each in self._do(self._store.tasks.lanes()) if each.project_id == self._project]
        found = {task.id for task in self._do(self._store.tasks.waiting(lanes, limit=100))}
        assert found == {
            task_id
            for task_id, task in self._model.tasks.items()
            if task.state is TaskState.QUEUED and not task.placed
        }

    @invariant()
    def the_worker_holds_what_runs(self) -> None:
        held = set(self._do(self._store.tasks.held(self._worker.id)))
        assert held == {
            (task_id, task.attempt, task.state)
            for task_id, task in self._model.tasks.items()
            if task.state in ACTIVE
        }

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)


async def _opened(where: Path | str) -> Stores:
    return Stores(where)


_SETTINGS = settings(
    max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# Connections to a server are dear: that it fails is enough, SQLite finds the smallest failure.
_SERVER = settings(_SETTINGS, phases=[Phase.explicit, Phase.reuse, Phase.generate])


def test_the_store_in_sqlite_does_as_the_model(sqlite_file: Path) -> None:
    class Machine(TaskMachine):
        where = sqlite_file

    run_state_machine_as_test(Machine, settings=_SETTINGS)


def test_the_store_in_postgresql_does_as_the_model(postgres_store_url: str) -> None:
    class Machine(TaskMachine):
        where = postgres_store_url

    run_state_machine_as_test(Machine, settings=_SERVER)
