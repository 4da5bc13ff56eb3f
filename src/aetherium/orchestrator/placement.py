"""Which worker gets a task: pure functions over what the store says.

A worker fits if it is active, has the driver, the labels and the size, is such a machine as a snapshot needs,
and has room now. Of those that fit the best has the snapshot, then a warm VM of the image, then the image,
then most room (``spread``) or least (``pack``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from aetherium.domain.tasks import Demand
from aetherium.domain.workers import Usage, Worker, WorkerState


class Strategy(StrEnum):
    """Even out the load, or fill one worker after the other."""

    SPREAD = "spread"
    PACK = "pack"


@dataclass
class Room:
    """A worker, and what of it is in use; grows while tasks are placed."""

    worker: Worker
    used: Usage

    @property
    def tasks(self) -> int:
        """How many tasks more it takes."""
        return self.worker.info.capacity.tasks - self.used.tasks

    def takes(self, demand: Demand) -> bool:
        """Whether there is room for it now."""
        capacity = self.worker.info.capacity
        return (
            self.tasks > 0
            and (not demand.vcpus or self.used.vcpus + demand.vcpus <= capacity.vcpus)
            and (not demand.memory_mib or self.used.memory_mib + demand.memory_mib <= capacity.memory_mib)
        )

    def take(self, demand: Demand) -> None:
        """Count it."""
        self.used += Usage(1, demand.vcpus, demand.memory_mib, int(demand.vcpus > 0))

    @property
    def share(self) -> float:
        """How full it is, 0 to 1, by what is scarcest."""
        capacity = self.worker.info.capacity
        return max(
            self.used.tasks / capacity.tasks,
            self.used.vcpus / capacity.vcpus,
            self.used.memory_mib / capacity.memory_mib,
        )


def rooms(workers: Sequence[Worker], usage: Mapping[str, Usage]) -> list[Room]:
    """The workers that can be given something at all."""
    return [
        Room(worker, usage.get(worker.id, Usage()))
        for worker in workers
        if worker.state is WorkerState.ACTIVE and not worker.info.private
    ]


def misfit(worker: Worker, demand: Demand) -> str:
    """Why this worker can never run it as it is; empty if it can."""
    info = worker.info
    if demand.worker_id is not None and demand.worker_id != worker.id:
        return "another worker is asked for"
    if demand.driver != "auto" and demand.driver not in info.drivers:
        return f"it has no working driver {demand.driver!r}"
    if demand.machine and (machine := info.machines.get(demand.driver, "")) != demand.machine:
        return f"it is {machine or 'no machine for snapshots'!r}, and the snapshot needs {demand.machine!r}"
    if demand.vcpus and not info.drivers:
        return "it has no working driver"
    lacking = [f"{key}={value}" for key, value in demand.labels.items() if info.labels.get(key) != value]
    if lacking:
        return f"it has not the label {lacking[0]}"
    if demand.vcpus > info.capacity.vcpus:
        return f"it has {info.capacity.vcpus} vCPUs, and {demand.vcpus} are asked for"
    if demand.memory_mib > info.capacity.memory_mib:
        return f"it has {info.capacity.memory_mib} MiB, and {demand.memory_mib} are asked for"
    return ""


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a task goes; or why nowhere, and whether only a new or changed worker could help."""

    room: Room | None
    reason: str = ""
    hopeless: bool = False


def choose(demand: Demand, found: Sequence[Room], images: Mapping[str, str], strategy: Strategy) -> Choice:
    """The best worker. `images`: digests by tag, as far as known."""
    if not found:
        return Choice(None, "No worker is active.", hopeless=True)
    misfits = {room.worker.info.name: misfit(room.worker, demand) for room in found}
    able = [room for room in found if not misfits[room.worker.info.name]]
    if not able:
        why = "; ".join(f"{name}: {reason}" for name, reason in sorted(misfits.items())[:4])
        return Choice(None, f"No worker can run it ({why}).", hopeless=True)
    free = [room for room in able if room.takes(demand)]
    if not free:
        return Choice(None, f"All {len(able)} workers that can run it are busy.")
    digest = images.get(demand.image, demand.image)
    sign = -1 if strategy is Strategy.SPREAD else 1

    def merit(room: Room) -> tuple[bool, bool, bool, float, str]:
        info = room.worker.info
        pooled, held = info.pooled.get(digest, 0) > 0, digest in info.images
        return (info.id == demand.near, pooled, held, sign * room.share, info.id)

    return Choice(max(free, key=merit))
