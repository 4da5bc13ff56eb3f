"""A pool of VMs that were started before anybody asked for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aetherium.domain.vms import VM, VMSpec

# The label of a VM that waits in a pool; such VMs are not listed with the others.
POOL_LABEL = "aetherium.pool"
# The label of a VM that is booted only to be snapshot.
SEED_LABEL = "aetherium.seed"
# The label of a job's VM; its value is the job's id.
JOB_LABEL = "aetherium.job"
# The label of a VM that a task has made; its value is the task's id.
TASK_LABEL = "aetherium.task"
# The label of a VM or snapshot that was asked for with an idempotency key; its value is the request's mark.
REQUEST_LABEL = "aetherium.request"
# Of what makes a VM what it is, and not a copy of it.
OWN_LABELS = frozenset({JOB_LABEL, TASK_LABEL, REQUEST_LABEL})
HIDDEN_LABELS = frozenset({POOL_LABEL, SEED_LABEL})


def copied(labels: Mapping[str, str]) -> dict[str, str]:
    """Those of a VM's labels that a copy of it has too."""
    return {key: value for key, value in labels.items() if key not in OWN_LABELS}


@dataclass(frozen=True, slots=True)
class PoolLevel:
    """How full the pools of a process are.

    Args:
        ready: VMs that wait.
        wanted: how many should.
    """

    ready: int = 0
    wanted: int = 0


class VMPool(Protocol):
    """VMs that run, have answered, and have run a command once, so that their caches are warm."""

    async def take(self, spec: VMSpec, *, driver: str, image_digest: str) -> VM | None:
        """A VM of that image, size and network, which from now on is the caller's to hand out or delete; its
        row still says that it is the pool's. None if there is none."""
        ...

    def level(self) -> PoolLevel:
        """How full it is; nothing is wanted where none is kept."""
        ...


class NoPool:
    """For processes that keep none."""

    async def take(self, spec: VMSpec, *, driver: str, image_digest: str) -> VM | None:
        return None

    def level(self) -> PoolLevel:
        return PoolLevel()


_: type[VMPool] = NoPool
