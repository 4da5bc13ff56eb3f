"""The handlers of the small task types: nothing, and what is done with VMs of this worker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from aetherium.domain.errors import AetheriumError, NotFound
from aetherium.domain.vms import VMState
from aetherium.interfaces.handlers import Attempt, Handler, TaskResult
from aetherium.interfaces.pool import TASK_LABEL
from aetherium.services.executions import ExecutionService
from aetherium.services.task_types import NOOP, VM_CREATE, VM_DELETE, VM_EXEC
from aetherium.services.vms import VMService

# Of a command's output a task keeps the end; all of it is streamed by those who run it directly.
_TAIL = 16 * 1024


class MeantToFail(AetheriumError):
    """A task was asked to fail."""

    code: ClassVar[str] = "meant_to_fail"


async def noop(attempt: Attempt) -> TaskResult:
    """``system.noop``."""
    if attempt.payload.sleep_s:
        await asyncio.sleep(attempt.payload.sleep_s)
    if attempt.task.failures < attempt.payload.failures:
        raise MeantToFail("It was asked to fail.")
    return TaskResult(attempt.payload.answer)


class VMHandlers:
    """``vm.create``, ``vm.delete``, ``vm.exec``."""

    def __init__(self, vms: VMService, executions: ExecutionService) -> None:
        self._vms = vms
        self._executions = executions

    async def create(self, attempt: Attempt) -> TaskResult:
        """Make a VM, unless an earlier attempt has on this worker. What one has made on another worker goes
        when this task has ended: see worker/reconcile.py."""
        label = {TASK_LABEL: attempt.task.id}
        project = attempt.task.project_id
        for vm in await self._vms.list(labels=label, project=project):
            if vm.state is VMState.RUNNING:
                return TaskResult({"vm_id": vm.id})
            await self._vms.delete(vm.id)
        payload = attempt.payload
        spec = payload.spec.with_labels(label)
        made = await self._vms.create(spec, snapshot=payload.snapshot, project=project)
        return TaskResult({"vm_id": made.id})

    async def delete(self, attempt: Attempt) -> TaskResult:
        """Delete a VM; one that is gone already is what was wanted."""
        try:
            await self._vms.delete(await self._own(attempt))
        except NotFound:
            return TaskResult({"deleted": False})
        return TaskResult({"deleted": True})

    async def _own(self, attempt: Attempt) -> str:
        """The id of the VM that a task means, which has to be its project's. Raises NotFound."""
        return await self._vms.id_in(attempt.task.project_id, attempt.payload.vm_id)

    async def run(self, attempt: Attempt) -> TaskResult:
        """Run a command to its end."""
        execution, out, err = await self._executions.run(await self._own(attempt), attempt.payload.spec)
        result = execution.result
        return TaskResult(
            {
                "execution_id": execution.id,
                "exit_code": None if result is None else result.exit_code,
                "stdout": out[-_TAIL:].decode(errors="replace"),
                "stderr": err[-_TAIL:].decode(errors="replace"),
            },
            ok=result is not None and result.ok,
        )


def handlers(vms: VMService, executions: ExecutionService, jobs: Handler) -> Mapping[str, Handler]:
    """All of them, by type."""
    of_vms = VMHandlers(vms, executions)
    return {
        NOOP: noop,
        VM_CREATE: of_vms.create,
        VM_DELETE: of_vms.delete,
        VM_EXEC: of_vms.run,
        "job.run": jobs,
    }
