"""Commands in VMs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aetherium.domain.executions import Execution, ExecutionSpec, TerminalSize
from aetherium.gateway.access.access import Access
from aetherium.gateway.access.rules import guards, opens
from aetherium.interfaces.guest import Attachment

if TYPE_CHECKING:
    from aetherium.gateway.remote.executions import RemoteExecutions
    from aetherium.services.executions import ExecutionService


class Executions:
    """See ExecutionService."""

    def __init__(self, access: Access, inner: ExecutionService | RemoteExecutions) -> None:
        self._access = access
        self._inner = inner

    @guards("executions:write", "execution.run")
    async def run(
        self, vm: str, spec: ExecutionSpec, *, stdin: bytes = b"", execution_id: str | None = None
    ) -> tuple[Execution, bytes, bytes]:
        own, by = await self._open(vm, spec), self._access.caller.subject
        found = await self._inner.run(own, spec, stdin=stdin, execution_id=execution_id, by=by)
        self._access.note(found[0].id)
        return found

    @guards("executions:write", "execution.start")
    async def start(self, vm: str, spec: ExecutionSpec, *, execution_id: str | None = None) -> Execution:
        own, by = await self._open(vm, spec), self._access.caller.subject
        execution = await self._inner.start(own, spec, execution_id=execution_id, by=by)
        self._access.note(execution.id)
        return execution

    @opens("executions:write", "execution.run")
    @asynccontextmanager
    async def launch(self, vm: str, spec: ExecutionSpec) -> AsyncIterator[tuple[Execution, Attachment]]:
        own, by = await self._open(vm, spec), self._access.caller.subject
        async with self._inner.launch(own, spec, by=by) as (execution, attachment):
            self._access.note(execution.id)
            yield execution, attachment

    @opens("executions:read")
    @asynccontextmanager
    async def attach(
        self, execution_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AsyncIterator[Attachment]:
        """Only to read from; see `interact`."""
        own = await self._access.execution(execution_id)
        async with self._inner.attach(
            own, stdout_offset=stdout_offset, stderr_offset=stderr_offset
        ) as attachment:
            yield attachment

    @opens("executions:write", "execution.interact")
    @asynccontextmanager
    async def interact(
        self, execution_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AsyncIterator[Attachment]:
        """As `attach`, also to write to."""
        own = await self._access.execution(execution_id)
        async with self._inner.attach(
            own, stdout_offset=stdout_offset, stderr_offset=stderr_offset
        ) as attachment:
            yield attachment

    @guards("executions:read")
    async def list(self, vm: str) -> Sequence[Execution]:
        return await self._inner.list(await self._access.vm(vm))

    @guards("executions:read")
    async def get(self, execution_id: str) -> Execution:
        return await self._inner.get(await self._access.execution(execution_id))

    @guards("executions:read")
    async def wait(self, execution_id: str) -> Execution:
        return await self._inner.wait(await self._access.execution(execution_id))

    @guards("executions:write", "execution.signal")
    async def signal(self, execution_id: str, signal: int) -> None:
        await self._inner.signal(await self._access.execution(execution_id), signal)

    @guards("executions:write", "execution.kill")
    async def kill(self, execution_id: str) -> None:
        await self._inner.kill(await self._access.execution(execution_id))

    @guards("executions:write")
    async def resize(self, execution_id: str, size: TerminalSize) -> None:
        await self._inner.resize(await self._access.execution(execution_id), size)

    async def _open(self, vm: str, spec: ExecutionSpec) -> str:
        """The id of the VM; Forbidden for stored secrets that the caller may not use."""
        if spec.secret_names:
            self._access.caller.require("secrets:use")
        return await self._access.vm(vm)
