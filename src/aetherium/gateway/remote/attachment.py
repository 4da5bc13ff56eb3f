"""Following an execution on a worker: output without gap or repeat, over lost connections and restarts."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable

from grpc.aio import AioRpcError, StreamStreamCall

from aetherium.domain.errors import AetheriumError, ChannelClosed
from aetherium.domain.executions import Execution, ExecutionResult
from aetherium.domain.guest import OutputChunk, OutputStream
from aetherium.gateway.remote.places import Place
from aetherium.gateway.remote.stdin import StdinLog
from aetherium.gateway.remote.workers import Patience, Unreached, Workers
from aetherium.interfaces.guest import Attachment
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc import convert
from aetherium.rpc.changes import Changes
from aetherium.rpc.errors import Cut, rebuild, restore
from aetherium.rpc.options import PIECE, STDIN_WINDOW, WINDOW

Call = StreamStreamCall[pb.InteractRequest, pb.InteractResponse]

# How long a worker may take to hear that its client has enough; it finds out by itself later.
_DETACH_S = 1.0


class RemoteAttachment:
    """An Attachment (see interfaces/guest.py).

    Args:
        first: makes the request that starts or attaches; told whether an earlier one may have arrived.
    """

    def __init__(
        self,
        workers: Workers,
        place: Place,
        first: Callable[[bool], pb.Follow],
        *,
        stdout_offset: int = 0,
        stderr_offset: int = 0,
    ) -> None:
        self._workers = workers
        self._worker_id = place.worker_id
        self._first = first
        self._session = secrets.token_bytes(16)
        self._reached = {OutputStream.STDOUT: stdout_offset, OutputStream.STDERR: stderr_offset}
        self._changes = Changes()
        self._execution: Execution | None = None
        self._unread: deque[OutputChunk] = deque()
        self._unread_bytes = 0
        self._iterators = self._waiters = 0
        self._stdin = StdinLog()
        self._stdin_lock = asyncio.Lock()
        self._result: ExecutionResult | None = None
        self._failure: AetheriumError | None = None
        self._repeat = self._connected = self._detaching = False

    # -- life

    async def run(self) -> None:
        """Keep the connection, until the execution has ended or `detach`."""
        patience = self._workers.patience(self._worker_id)
        try:
            while self._result is None and not self._detaching:
                try:
                    await self._connection(patience)
                except (Cut, Unreached) as error:
                    if not self._detaching:
                        await patience.endure(error)
        except AetheriumError as error:
            self._failure = error
        finally:
            self._changes.tell()

    async def detach(self, running: asyncio.Task[None]) -> None:
        """Tell the worker that this client has enough, and end `run`."""
        if self._connected:
            self._detaching = True
            self._changes.tell()
            await asyncio.wait({running}, timeout=_DETACH_S)
        running.cancel()
        await asyncio.wait({running})

    async def followed(self) -> Execution:
        """Wait until the worker follows the execution. Raises what it refuses with."""
        await self._until(lambda: self._execution is not None)
        return self.execution

    @property
    def execution(self) -> Execution:
        """As far as it is known; as recorded, once the result is there."""
        if self._execution is None:
            raise ChannelClosed("The execution is not followed yet.")
        return self._execution

    # -- output

    async def __aiter__(self) -> AsyncIterator[OutputChunk]:
        self._iterators += 1
        try:
            while True:
                await self._until(lambda: self._unread or self._result is not None)
                if not self._unread:
                    return
                chunk = self._unread.popleft()
                self._unread_bytes -= len(chunk.data)
                self._changes.tell()
                yield chunk
        finally:
            self._iterators -= 1
            self._changes.tell()

    async def result(self) -> ExecutionResult:
        """Wait for the end. Output that nobody iterates over does not hold it up."""
        self._waiters += 1
        self._changes.tell()
        try:
            await self._until(lambda: self._result is not None)
        finally:
            self._waiters -= 1
        assert self._result is not None  # noqa: S101  # for the type checker
        return self._result

    # -- stdin

    async def write_stdin(self, data: bytes) -> None:
        """Send `data`; returns when the guest has it.

        Raises ChannelClosed if the worker was started again meanwhile, so that nobody knows whether it has.
        """
        async with self._stdin_lock:
            lost = self._stdin.lost
            for at in range(0, len(data), PIECE):
                await self._passed(lambda: self._stdin.unacknowledged <= STDIN_WINDOW - PIECE, lost)
                self._stdin.append(data[at : at + PIECE])
                self._changes.tell()
            end = self._stdin.end
            await self._passed(lambda: self._stdin.acknowledged >= end, lost)

    async def close_stdin(self) -> None:
        """Send end of file."""
        async with self._stdin_lock:
            self._stdin.finish()
            self._changes.tell()
            await self._passed(lambda: self._stdin.closed, self._stdin.lost)

    async def _passed(self, holds: Callable[[], bool], lost: int) -> None:
        """Wait until it holds, or nobody reads stdin any more."""
        await self._until(lambda: holds() or self._result is not None or self._stdin.lost > lost)
        if self._stdin.lost > lost and self._result is None:
            raise ChannelClosed(
                "The worker was started again; whether the last of stdin reached the command is not known."
            )

    async def _until(self, holds: Callable[[], object]) -> None:
        await self._changes.until(lambda: holds() or self._failure is not None)
        if not holds() and self._failure is not None:
            raise self._failure

    # -- one connection

    async def _connection(self, patience: Patience) -> None:
        async with self._workers.reach(self._worker_id) as link:
            call = link.interact()
            sender = asyncio.ensure_future(self._send(call))
            try:
                while self._result is None:
                    response = await call.read()
                    if not isinstance(response, pb.InteractResponse):
                        return  # the end of the stream, after `detach`
                    patience.progress()
                    await self._take(response)
            except AioRpcError as error:
                raise rebuild(error) from error
            finally:
                self._connected = False
                sender.cancel()
                await asyncio.wait({sender})
                call.cancel()

    async def _send(self, call: Call) -> None:
        """All that goes to the worker on this connection."""
        try:
            await call.write(pb.InteractRequest(follow=self._follow()))
            self._repeat = True
            while not self._detaching:
                await self._changes.until(
                    lambda: self._detaching or (self._connected and self._stdin.pending)
                )
                if self._stdin.pending and not self._detaching:
                    await call.write(_stdin_request(self._stdin.next()))
            await call.write(pb.InteractRequest(detach=pb.Detach()))
        except (AioRpcError, asyncio.InvalidStateError):
            return  # it is cut, which the reader finds out too

    def _follow(self) -> pb.Follow:
        follow = self._first(self._repeat)
        follow.session = self._session
        follow.stdout_offset = self._reached[OutputStream.STDOUT]
        follow.stderr_offset = self._reached[OutputStream.STDERR]
        follow.stdin_acknowledged = self._stdin.acknowledged
        return follow

    async def _take(self, response: pb.InteractResponse) -> None:
        match response.WhichOneof("response"):
            case "following":
                self._begin(response.following)
            case "output":
                await self._keep(convert.chunk_from_pb(response.output))
            case "stdin_ack":
                self._stdin.acknowledge(response.stdin_ack.total, ended=response.stdin_ack.ended)
            case "ended":
                if response.ended.HasField("execution"):
                    self._execution = convert.execution_from_pb(response.ended.execution)
                self._result = convert.result_from_pb(response.ended.result)
            case "error":
                raise restore(response.error)
        self._changes.tell()

    def _begin(self, following: pb.Following) -> None:
        if self._execution is None:
            self._execution = convert.execution_from_pb(following.execution)
        if following.HasField("stdin_received"):
            self._stdin.resume(following.stdin_received, ended=following.stdin_ended)
        else:
            self._stdin.forget()
        self._connected = True

    async def _keep(self, chunk: OutputChunk) -> None:
        self._reached[chunk.stream] = chunk.offset + len(chunk.data)
        self._unread.append(chunk)
        self._unread_bytes += len(chunk.data)
        self._changes.tell()
        await self._changes.until(lambda: self._unread_bytes < WINDOW or self._unwanted)
        while self._unread_bytes >= WINDOW:
            self._unread_bytes -= len(self._unread.popleft().data)

    @property
    def _unwanted(self) -> bool:
        """Whether the result is waited for, and nobody takes the output."""
        return self._detaching or (self._waiters > 0 and not self._iterators)


def _stdin_request(piece: bytes | None) -> pb.InteractRequest:
    return pb.InteractRequest(stdin_end=pb.StdinEnd()) if piece is None else pb.InteractRequest(stdin=piece)


_: type[Attachment] = RemoteAttachment
