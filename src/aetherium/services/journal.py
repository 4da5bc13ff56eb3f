"""Executions on their way into the store.

A command takes milliseconds, and its rows must not cost as much again: they are gathered here and written
together in the background. Readers of this process see them at once; others a tenth of a second later.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from aetherium.domain.errors import AetheriumError
from aetherium.domain.executions import Execution, ExecutionState
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.store import ExecutionRepository

log = logging.getLogger(__name__)

# Between two writes. What a killed process loses is at most this much of its last executions' records.
PAUSE_S = 0.1
RETRY_S = 1.0


class ExecutionJournal:
    """The newest record of each execution that is not yet in the store."""

    def __init__(self, executions: ExecutionRepository) -> None:
        self._executions = executions
        self._pending: dict[str, Execution] = {}
        self._dirty = asyncio.Event()
        self._lock = asyncio.Lock()

    def put(self, execution: Execution) -> None:
        """Record it soon."""
        self._pending[execution.id] = execution
        self._dirty.set()

    def get(self, execution_id: str) -> Execution | None:
        """The record, if it is still to be written."""
        return self._pending.get(execution_id)

    def lose(self, vm_id: str, at: datetime) -> None:
        """The VM has ended: what has not ended in it, did."""
        for execution in tuple(self._pending.values()):
            if execution.vm_id == vm_id and execution.ended_at is None:
                self.put(lost(execution, at))

    async def flush(self) -> None:
        """Write everything now. Raises Unavailable; nothing is forgotten then."""
        await finish(self._flush())

    async def run(self) -> None:
        """Write whenever there is something, until cancelled."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(PAUSE_S)
            try:
                await self.flush()
            except AetheriumError as error:
                log.warning("Executions cannot be recorded now, and will be: %s", error)
                await asyncio.sleep(RETRY_S)

    async def _flush(self) -> None:
        async with self._lock:
            batch = dict(self._pending)
            self._dirty.clear()
            if not batch:
                return
            try:
                await self._executions.save(tuple(batch.values()))
            except BaseException:
                self._dirty.set()
                raise
            for execution_id, written in batch.items():
                if self._pending.get(execution_id) is written:
                    del self._pending[execution_id]


def lost(execution: Execution, at: datetime) -> Execution:
    """The execution with the state `lost`."""
    return Execution(
        id=execution.id,
        vm_id=execution.vm_id,
        spec=execution.spec,
        state=ExecutionState.LOST,
        created_at=execution.created_at,
        started_at=execution.started_at,
        ended_at=at,
        secret_names=execution.secret_names,
    )
