"""Executions on workers, as ExecutionService has them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from aetherium.domain.errors import AetheriumError, LimitExceeded, Unavailable
from aetherium.domain.executions import EXECUTION_LIFECYCLE, Execution, ExecutionSpec, TerminalSize
from aetherium.domain.guest import OutputStream
from aetherium.domain.ids import EXECUTION, new_id
from aetherium.gateway.remote.attachment import RemoteAttachment
from aetherium.gateway.remote.places import Place, Places
from aetherium.gateway.remote.workers import Workers
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.guest import Attachment
from aetherium.interfaces.store import Store
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc import convert
from aetherium.services.secrets.uses import SYSTEM, SecretUses

log = logging.getLogger(__name__)

_KILL_S = 2.0


class RemoteExecutions:
    """See ExecutionService. `vm` is an id, a name or a unique prefix of an id; `by` the caller's subject.

    Executions have ids made here, so that a request whose answer was lost is repeated and finds the first.

    Args:
        uses: gives them the stored secrets that they ask for.
        output_mib: the most output of `run`.
    """

    def __init__(
        self, store: Store, places: Places, workers: Workers, uses: SecretUses, *, output_mib: int
    ) -> None:
        self._store = store
        self._places = places
        self._workers = workers
        self._uses = uses
        self._output_mib = output_mib

    async def run(
        self,
        vm: str,
        spec: ExecutionSpec,
        *,
        stdin: bytes = b"",
        execution_id: str | None = None,
        by: str = SYSTEM,
    ) -> tuple[Execution, bytes, bytes]:
        """Run a command to its end: the execution, stdout, stderr. Killed if the caller is cancelled.

        It is followed, so that a lost connection, or a worker that is started again, does not end it.
        """
        full = replace(spec, stdin=spec.stdin or bool(stdin))
        async with self._launched(vm, full, by, execution_id) as attachment:
            own_id = attachment.execution.id
            try:
                async with asyncio.TaskGroup() as group:
                    if full.stdin:
                        group.create_task(_feed(attachment, stdin))
                    stdout, stderr = await self._collect(own_id, attachment)
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from errors
            except asyncio.CancelledError:
                await finish(self._kill(own_id))
                raise
            return attachment.execution, stdout, stderr

    async def start(
        self, vm: str, spec: ExecutionSpec, *, execution_id: str | None = None, by: str = SYSTEM
    ) -> Execution:
        """Start a command and return at once. In the state `failed` if it could not be started."""
        place = await self._places.vm(vm)
        request = pb.StartRequest(start=await self._start(place, spec, by, execution_id))
        started = await self._workers.call(place.worker_id, lambda stub: stub.Start, request)
        execution = convert.execution_from_pb(started.execution)
        self._places.began(execution)
        return execution

    @asynccontextmanager
    async def launch(
        self, vm: str, spec: ExecutionSpec, *, by: str = SYSTEM
    ) -> AsyncIterator[tuple[Execution, Attachment]]:
        """Start a command and follow it. Leaving the block lets it go on."""
        async with self._launched(vm, spec, by) as attachment:
            yield attachment.execution, attachment

    @asynccontextmanager
    async def attach(
        self, execution_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AsyncIterator[Attachment]:
        """Follow a command from these offsets, also one that has ended and whose output is still kept."""
        place = await self._places.execution(execution_id)
        attachment = RemoteAttachment(
            self._workers,
            place,
            lambda _: pb.Follow(execution_id=execution_id),
            stdout_offset=stdout_offset,
            stderr_offset=stderr_offset,
        )
        async with _following(attachment):
            yield attachment

    async def list(self, vm: str) -> Sequence[Execution]:
        """Those of a VM, newest first; as last written, if its worker cannot be asked."""
        place = await self._places.vm(vm)
        request = pb.ListExecutionsRequest(vm_id=place.id)
        try:
            found = await self._workers.collect(place.worker_id, lambda stub: stub.ListExecutions, request)
        except Unavailable as error:
            log.info("The executions of %s cannot be asked for: %s", place.id, error)
            return await self._store.executions.list(place.id)
        return [convert.execution_from_pb(each.execution) for each in found]

    async def get(self, execution_id: str) -> Execution:
        """As it is now; as last written, if its worker cannot be asked. Raises NotFound."""
        place = await self._places.execution(execution_id)
        request = pb.GetExecutionRequest(execution_id=execution_id)
        try:
            found = await self._workers.call(place.worker_id, lambda stub: stub.GetExecution, request)
        except Unavailable as error:
            log.info("The execution %s cannot be asked for: %s", execution_id, error)
            return await self._places.row(execution_id)
        return convert.execution_from_pb(found.execution)

    async def wait(self, execution_id: str) -> Execution:
        """Wait for its end."""
        place = await self._places.execution(execution_id)
        request = pb.WaitExecutionRequest(execution_id=execution_id)
        try:
            found = await self._workers.call(place.worker_id, lambda stub: stub.WaitExecution, request)
        except Unavailable:
            written = await self._places.row(execution_id)
            if EXECUTION_LIFECYCLE.is_final(written.state):
                return written
            raise
        return convert.execution_from_pb(found.execution)

    async def signal(self, execution_id: str, signal: int) -> None:
        """Send a signal to its process group."""
        place = await self._places.execution(execution_id)
        with convert.sending():
            request = pb.SignalRequest(execution_id=execution_id, signal=signal)
        await self._workers.call_once(place.worker_id, lambda stub: stub.Signal, request)

    async def kill(self, execution_id: str) -> None:
        """Kill everything that it has started."""
        place = await self._places.execution(execution_id)
        request = pb.KillRequest(execution_id=execution_id)
        await self._workers.call(place.worker_id, lambda stub: stub.Kill, request)

    async def resize(self, execution_id: str, size: TerminalSize) -> None:
        """Change the size of its terminal."""
        place = await self._places.execution(execution_id)
        request = pb.ResizeRequest(execution_id=execution_id, size=convert.size_to_pb(size))
        await self._workers.call(place.worker_id, lambda stub: stub.Resize, request)

    @asynccontextmanager
    async def _launched(
        self, vm: str, spec: ExecutionSpec, by: str, execution_id: str | None = None
    ) -> AsyncIterator[RemoteAttachment]:
        place = await self._places.vm(vm)
        start = await self._start(place, spec, by, execution_id)

        def first(repeat: bool) -> pb.Follow:
            start.repeat = repeat or execution_id is not None
            return pb.Follow(start=start)

        attachment = RemoteAttachment(self._workers, place, first)
        async with _following(attachment):
            self._places.began(attachment.execution)
            yield attachment

    async def _start(self, place: Place, spec: ExecutionSpec, by: str, execution_id: str | None) -> pb.Start:
        """What the worker gets, which is the same when it is repeated."""
        execution_id = execution_id or new_id(EXECUTION)
        if spec.secret_names:
            row = await self._store.vms.get(place.id)
            spec = await self._uses.given(spec, row, execution_id, by=by)
        return pb.Start(vm_id=place.id, execution_id=execution_id, spec=convert.spec_to_pb(spec))

    async def _collect(self, execution_id: str, attachment: Attachment) -> tuple[bytes, bytes]:
        outputs = {OutputStream.STDOUT: bytearray(), OutputStream.STDERR: bytearray()}
        left = self._output_mib << 20
        async for chunk in attachment:
            left -= len(chunk.data)
            if left < 0:
                await self._kill(execution_id)
                raise LimitExceeded(
                    f"The execution {execution_id} wrote more than {self._output_mib} MiB of output.",
                    hint="Raise the setting output_mib, or write to a file and read that.",
                )
            outputs[chunk.stream] += chunk.data
        return bytes(outputs[OutputStream.STDOUT]), bytes(outputs[OutputStream.STDERR])

    async def _kill(self, execution_id: str) -> None:
        try:
            async with asyncio.timeout(_KILL_S):
                await self.kill(execution_id)
        except (AetheriumError, TimeoutError) as error:
            log.warning("The execution %s could not be killed: %s", execution_id, error)


@asynccontextmanager
async def _following(attachment: RemoteAttachment) -> AsyncIterator[None]:
    """The block, once the execution is followed."""
    running = asyncio.ensure_future(attachment.run())
    try:
        await attachment.followed()
        yield
    finally:
        await finish(attachment.detach(running))


async def _feed(attachment: Attachment, data: bytes) -> None:
    await attachment.write_stdin(data)
    await attachment.close_stdin()
