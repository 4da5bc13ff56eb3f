"""Where snapshots go."""

from __future__ import annotations

from datetime import UTC, datetime

from aetherium.domain.tasks import Demand
from aetherium.domain.workers import Capacity, Usage, Worker, WorkerInfo, WorkerState
from aetherium.orchestrator.placement import Room, Strategy, choose

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def room(name: str, machine: str = "m", *, used: int = 0) -> Room:
    """One that takes ten tasks."""
    facts = WorkerInfo(name, name, capacity=Capacity(tasks=10), drivers=("qemu",), machines={"qemu": machine})
    return Room(Worker(facts, WorkerState.ACTIVE, 1, NOW, NOW, NOW), Usage(tasks=used))


def chosen(demand: Demand, *rooms: Room) -> str:
    """A worker's id; or why there is none."""
    choice = choose(demand, rooms, {}, Strategy.SPREAD)
    return choice.reason if choice.room is None else choice.room.worker.id


def test_the_worker_that_has_it_is_preferred_though_others_are_emptier() -> None:
    demand = Demand(driver="qemu", machine="m", near="a")
    assert chosen(demand, room("a", used=9), room("b")) == "a"
    assert chosen(demand, room("a", used=10), room("b")) == "b"
    assert chosen(demand, room("c", used=1), room("b")) == "b"


def test_only_the_same_machine_fits() -> None:
    demand = Demand(driver="qemu", machine="m", near="a")
    assert chosen(demand, room("a", "changed"), room("b")) == "b"
    reason = chosen(demand, room("a", "changed"), room("b", ""))
    assert "it is 'changed', and the snapshot needs 'm'" in reason
    assert "it is 'no machine for snapshots'" in reason


def test_what_is_no_snapshot_goes_anywhere() -> None:
    assert chosen(Demand(driver="qemu"), room("a", "", used=1), room("b", "")) == "b"
