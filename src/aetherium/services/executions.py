"""Executions: commands in VMs, recorded and masked."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from aetherium.domain.errors import (
    AetheriumError,
    AlreadyExists,
    Conflict,
    GuestError,
    LimitExceeded,
    NotFound,
)
from aetherium.domain.executions import (
    EXECUTION_LIFECYCLE,
    Execution,
    ExecutionResult,
    ExecutionSpec,
    ExecutionState,
    TerminalSize,
)
from aetherium.domain.guest import OutputStream
from aetherium.domain.ids import EXECUTION, check_id, new_id
from aetherium.domain.images import ImageConfig
from aetherium.domain.vms import VM
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.guest import Attachment, Guest
from aetherium.services.host import Host
from aetherium.services.masking import masked, patterns
from aetherium.services.recording import RecordedAttachment
from aetherium.services.secrets.uses import SYSTEM, SecretUses
from aetherium.services.settling import Settler, result_of
from aetherium.services.vms import VMService

log = logging.getLogger(__name__)

_KILL_S = 2.0
# Executions whose secrets are remembered for masking, the latest ones.
_SECRETS_KEPT = 4096


class ExecutionService:
    """See the methods. `vm` is an id, a name or a unique prefix of an id; `by` the subject of the caller, for
    the record of which secrets were given to whom.

    Whoever may have to repeat a request makes the `execution_id` (ids.new_id): the guest runs the same id
    only once. Before a repeat, `known` says whether the first one has arrived.
    """

    def __init__(self, host: Host, vms: VMService, settler: Settler, uses: SecretUses) -> None:
        self._host = host
        self._vms = vms
        self._settler = settler
        self._uses = uses
        self._configs: dict[str, ImageConfig] = {}
        self._secrets: OrderedDict[str, tuple[bytes, ...]] = OrderedDict()

    async def run(
        self,
        vm: str,
        spec: ExecutionSpec,
        *,
        stdin: bytes = b"",
        execution_id: str | None = None,
        by: str = SYSTEM,
    ) -> tuple[Execution, bytes, bytes]:
        """Run a command to its end: the execution, stdout, stderr. Killed if the caller is cancelled. The
        same `execution_id` again gives the first execution, and what is still kept of its output.

        A command that cannot be started has the state `failed`, and its result says why. Raises
        LimitExceeded, after killing it, for more output than the setting `output_mib`; VMCrashed within 2 s
        of the VM's end.
        """
        async with self._vms.session(vm) as (row, guest):
            if execution_id is not None and await self.known(execution_id, row.id, spec) is not None:
                return await self.outcome(execution_id)
            execution_id, given = await self._given(row, spec, execution_id, by)
            full = replace(await self._complete(row, given), stdin=spec.stdin or bool(stdin))
            execution = self._begin(row, given, execution_id)
            cap = self._host.settings.output_mib << 20
            try:
                result, out, err = await guest.run(execution.id, full, stdin=stdin, output_cap=cap)
            except asyncio.CancelledError:
                await finish(_kill(guest, execution.id))
                raise
        forms = self._secrets.get(execution.id, ())
        return self._ended(execution, result), masked(forms, out), masked(forms, err)

    async def start(
        self, vm: str, spec: ExecutionSpec, *, execution_id: str | None = None, by: str = SYSTEM
    ) -> Execution:
        """Start a command and return at once; it outlives this process. In the state `failed` if it could
        not be started. The same `execution_id` again returns the first execution."""
        async with self._vms.session(vm) as (row, guest):
            first = None if execution_id is None else await self.known(execution_id, row.id, spec)
            if first is not None and EXECUTION_LIFECYCLE.is_final(first.state):
                return first
            execution_id, given = await self._given(row, spec, execution_id, by)
            full = await self._complete(row, given)
            execution = first or self._begin(row, given, execution_id)
            self._remember(execution_id, given)  # also of one that another process began
            await (
                self._host.journal.flush()
            )  # nobody waits for its end, so its row has to be there in any case
            try:
                await guest.start(execution.id, full)
            except GuestError as error:
                return self._ended(execution, ExecutionResult(ExecutionState.FAILED, error=error.message))
        return execution

    @asynccontextmanager
    async def launch(
        self, vm: str, spec: ExecutionSpec, *, execution_id: str | None = None, by: str = SYSTEM
    ) -> AsyncIterator[tuple[Execution, Attachment]]:
        """Start a command and follow it. Leaving the block lets it go on."""
        async with self._vms.session(vm) as (row, guest):
            execution_id, given = await self._given(row, spec, execution_id, by)
            full = await self._complete(row, given)
            execution = self._begin(row, given, execution_id)
            async with guest.launch(execution.id, full) as inner:
                forms = self._secrets.get(execution.id, ())
                yield (
                    execution,
                    RecordedAttachment(inner, forms, lambda result: self._note(execution, result)),
                )

    @asynccontextmanager
    async def attach(
        self, execution_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AsyncIterator[Attachment]:
        """Follow a command from these offsets, also one that has ended and whose output is still kept.

        Raises NotFound, and Conflict if its VM does not run, or if it has secrets and was not started by this
        process, which then could not mask them.
        """
        execution = await self._row(execution_id)
        forms = self._secrets.get(execution_id, ())
        if execution.secret_names and execution_id not in self._secrets:
            raise Conflict(
                f"The execution {execution_id} was given secrets by another process, and its output cannot"
                " be masked any more.",
                hint="Its state and exit code can still be read.",
            )
        shown = (stdout_offset, stderr_offset)
        before = max((len(form) for form in forms), default=1) - 1
        begin = (max(0, stdout_offset - before), max(0, stderr_offset - before))
        async with (
            self._vms.session(execution.vm_id) as (_, guest),
            guest.attach(execution_id, stdout_offset=begin[0], stderr_offset=begin[1]) as inner,
        ):
            yield RecordedAttachment(
                inner, forms, lambda result: self._note(execution, result), begin=begin, shown=shown
            )

    async def known(self, execution_id: str, vm: str, spec: ExecutionSpec) -> Execution | None:
        """The execution that an earlier request with this id began in the VM with the id `vm`, if there is
        one. Its output is masked by the secrets of `spec`, also if another process began it.

        Raises AlreadyExists if that was another command."""
        try:
            execution = await self._row(execution_id)
        except NotFound:
            return None
        asked = replace(spec, secret_env={})
        if (execution.vm_id, execution.spec, execution.secret_names) != (vm, asked, _names(spec)):
            raise AlreadyExists(f"The execution {execution_id} is another command.", id=execution_id)
        self._remember(execution_id, spec)
        return execution

    async def outcome(self, execution_id: str) -> tuple[Execution, bytes, bytes]:
        """As `run`, of an execution that was begun before: what is still kept of its output, to its end."""
        kept = {OutputStream.STDOUT: bytearray(), OutputStream.STDERR: bytearray()}
        left = self._host.settings.output_mib << 20
        before = await self._row(execution_id)
        async with self.attach(execution_id) as attachment:
            async for chunk in attachment:
                left -= len(chunk.data)
                if left < 0:
                    await self.kill(execution_id)
                    raise LimitExceeded(f"The execution {execution_id} wrote too much output.")
                kept[chunk.stream] += chunk.data
        stdout, stderr = kept.values()
        ended = EXECUTION_LIFECYCLE.is_final(before.state)
        return before if ended else await self._row(execution_id), bytes(stdout), bytes(stderr)

    async def list(self, vm: str) -> Sequence[Execution]:
        """Those of a VM, newest first."""
        row = await self._vms.get(vm)
        await self._host.journal.flush()
        await self._settler.refresh(row)
        return await self._host.store.executions.list(row.id)

    async def get(self, execution_id: str) -> Execution:
        """As it is now. Raises NotFound."""
        execution = await self._row(execution_id)
        if EXECUTION_LIFECYCLE.is_final(execution.state):
            return execution
        await self._settler.refresh(await self._vms.get(execution.vm_id))
        return await self._row(execution_id)

    async def wait(self, execution_id: str) -> Execution:
        """Wait for its end."""
        execution = await self.get(execution_id)
        if EXECUTION_LIFECYCLE.is_final(execution.state):
            return execution
        async with self._vms.session(execution.vm_id) as (_, guest):
            return self._ended(execution, await result_of(guest, execution_id))

    async def signal(self, execution_id: str, signal: int) -> None:
        """Send a signal to its process group."""
        execution = await self._row(execution_id)
        async with self._vms.session(execution.vm_id) as (_, guest):
            await guest.signal(execution_id, signal)

    async def kill(self, execution_id: str) -> None:
        """Kill everything that it has started."""
        execution = await self._row(execution_id)
        async with self._vms.session(execution.vm_id) as (_, guest):
            await guest.kill(execution_id)

    async def resize(self, execution_id: str, size: TerminalSize) -> None:
        """Change the size of its terminal."""
        execution = await self._row(execution_id)
        async with self._vms.session(execution.vm_id) as (_, guest):
            await guest.resize(execution_id, size)

    async def _row(self, execution_id: str) -> Execution:
        return self._host.journal.get(execution_id) or await self._host.store.executions.get(execution_id)

    async def _given(
        self, vm: VM, spec: ExecutionSpec, execution_id: str | None, by: str
    ) -> tuple[str, ExecutionSpec]:
        """The execution's id, and what to run with the stored secrets that it asks for."""
        id_ = new_id(EXECUTION) if execution_id is None else check_id(execution_id, EXECUTION)
        return id_, await self._uses.given(spec, vm, id_, by=by)

    def _begin(self, vm: VM, spec: ExecutionSpec, execution_id: str) -> Execution:
        now = self._host.clock.now()
        execution = Execution(
            id=execution_id,
            vm_id=vm.id,
            spec=replace(spec, secret_env={}),
            state=ExecutionState.RUNNING,
            created_at=now,
            started_at=now,
            secret_names=_names(spec),
        )
        self._remember(execution.id, spec)
        self._host.journal.put(execution)
        return execution

    def _remember(self, execution_id: str, spec: ExecutionSpec) -> None:
        """The secrets, for masking."""
        if spec.secret_env:
            self._secrets[execution_id] = patterns(spec.secret_env.values())
            while len(self._secrets) > _SECRETS_KEPT:
                self._secrets.popitem(last=False)

    def _ended(self, execution: Execution, result: ExecutionResult) -> Execution:
        forms = self._secrets.get(execution.id, ())
        if forms and result.error:
            text = masked(forms, result.error.encode()).decode(errors="replace")
            result = replace(result, error=text)
        done = replace(execution, state=result.state, result=result, ended_at=self._host.clock.now())
        self._host.journal.put(done)
        return done

    def _note(self, execution: Execution, result: ExecutionResult) -> None:
        self._ended(execution, result)

    async def _complete(self, vm: VM, spec: ExecutionSpec) -> ExecutionSpec:
        """With what the image and the VM say where the caller did not."""
        config = self._configs.get(vm.image_digest)
        if config is None:
            config = await self._config(vm.image_digest)
        return replace(
            spec,
            env={**config.env, **vm.spec.env, **spec.env},
            user=spec.user if spec.user is not None else config.user or None,
            cwd=spec.cwd if spec.cwd is not None else config.workdir or None,
        )

    async def _config(self, digest: str) -> ImageConfig:
        try:
            config = (await self._host.images.get(digest)).config
        except NotFound:  # cannot be while the VM holds its image; its commands still run
            config = ImageConfig()
        self._configs[digest] = config
        return config


def _names(spec: ExecutionSpec) -> tuple[str, ...]:
    return tuple(sorted({*spec.secret_env, *spec.secret_names}))


async def _kill(guest: Guest, execution_id: str) -> None:
    try:
        async with asyncio.timeout(_KILL_S):
            await guest.kill(execution_id)
    except (AetheriumError, TimeoutError) as error:
        log.warning("The execution %s could not be killed: %s", execution_id, error)
