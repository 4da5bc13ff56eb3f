"""Which worker has what."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

from aetherium.domain.errors import NotFound, Unavailable
from aetherium.domain.executions import Execution
from aetherium.domain.ids import VM as VM_PREFIX
from aetherium.domain.ids import is_id
from aetherium.domain.snapshots import Snapshot
from aetherium.domain.vms import VM
from aetherium.interfaces.store import Store

Value = TypeVar("Value")

# Where VMs are does not change, so that it need not be read again for every call.
_REMEMBERED = 10_000
# Workers write executions this late (services/journal.py), and a little more when they are busy.
_LATE_S = 0.1


@dataclass(frozen=True, slots=True)
class Place:
    """A VM or snapshot, by its id, and the worker that has it."""

    id: str
    worker_id: str


class Places:
    """Reads rows of the shared database. Raises NotFound, and Unavailable for what has no worker."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._vms: OrderedDict[str, Place] = OrderedDict()
        self._executions: OrderedDict[str, str] = OrderedDict()

    async def vm(self, ref: str) -> Place:
        """By id, name or unique prefix of an id."""
        if ref in self._vms:
            return self._vms[ref]
        place = place_of(await self._store.vms.find(ref))
        if is_id(ref, VM_PREFIX):
            _remember(self._vms, ref, place)
        return place

    async def execution(self, execution_id: str) -> Place:
        """The VM that it runs in."""
        vm_id = self._executions.get(execution_id)
        return await self.vm(vm_id or (await self.row(execution_id)).vm_id)

    def began(self, execution: Execution) -> None:
        """Note an execution whose row may not be written yet."""
        _remember(self._executions, execution.id, execution.vm_id)

    async def row(self, execution_id: str) -> Execution:
        """An execution as written; waited for if it may be about to be."""
        try:
            return await self._store.executions.get(execution_id)
        except NotFound:
            await asyncio.sleep(_LATE_S)
            return await self._store.executions.get(execution_id)


def place_of(row: VM | Snapshot) -> Place:
    """Where a VM or a snapshot is. Raises Unavailable."""
    if row.worker_id is None:
        raise Unavailable(f"{row.id} has no worker yet.", hint="Try again in a moment.")
    return Place(row.id, row.worker_id)


def _remember(memory: OrderedDict[str, Value], key: str, value: Value) -> None:
    memory[key] = value
    while len(memory) > _REMEMBERED:
        memory.popitem(last=False)
