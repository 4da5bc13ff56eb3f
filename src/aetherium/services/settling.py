"""Executions that nobody saw the end of: ask the agent how they are."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from aetherium.domain.errors import AetheriumError
from aetherium.domain.executions import EXECUTION_LIFECYCLE, Execution, ExecutionResult
from aetherium.domain.guest import ExecutionStatus
from aetherium.domain.vms import VM, VMState
from aetherium.interfaces.guest import Guest
from aetherium.services.host import Host
from aetherium.services.journal import lost

log = logging.getLogger(__name__)

# An execution that the agent does not know is lost, unless it is so young that it may be on its way there.
UNKNOWN_S = 30.0
_REFRESH_S = 5.0


class Settler:
    """Records the ends of executions that ended while nobody followed them."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def refresh(self, vm: VM) -> int:
        """Look at all that are unfinished; how many still run. What cannot be asked now stays as it is. This
        is no use of the VM, and does not keep it from being idle."""
        store, now = self._host.store, self._host.clock.now()
        await self._host.journal.flush()
        if vm.state in (VMState.STOPPED, VMState.FAILED):
            await store.executions.lose(vm.id, now)
            return 0
        rows = await store.executions.list(vm.id, unfinished=True)
        if not rows or vm.state is not VMState.RUNNING:
            return len(rows)
        try:
            async with asyncio.timeout(_REFRESH_S), self._host.connections.session(vm) as guest:
                known = {status.id: status for status in await guest.executions()}
                ended = [await self._settle(guest, row, known.get(row.id)) for row in rows]
        except (AetheriumError, TimeoutError) as error:
            log.info("The executions of %s cannot be looked at now: %s", vm.id, error)
            return len(rows)
        await self._host.journal.flush()
        return ended.count(False)

    async def _settle(self, guest: Guest, row: Execution, status: ExecutionStatus | None) -> bool:
        """Record the end of an execution, if it has ended; whether it has."""
        now = self._host.clock.now()
        if status is None:
            gone = (now - row.created_at).total_seconds() > UNKNOWN_S
            if gone:
                self._host.journal.put(lost(row, now))
            return gone
        if not EXECUTION_LIFECYCLE.is_final(status.state):
            return False
        result = await result_of(guest, row.id, (status.stdout_bytes, status.stderr_bytes))
        self._host.journal.put(replace(row, state=result.state, result=result, ended_at=now))
        return True


async def result_of(guest: Guest, execution_id: str, skip: tuple[int, int] = (0, 0)) -> ExecutionResult:
    """The result alone, waited for; `skip` are offsets up to which output is not wanted."""
    async with guest.attach(execution_id, stdout_offset=skip[0], stderr_offset=skip[1]) as attachment:
        return await attachment.result()
