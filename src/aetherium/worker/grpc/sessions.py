"""Executions that clients follow over connections that may be lost.

A session holds the attachment to one execution. A client that was cut off has HOLD_S seconds to come back; as
long as nobody takes its output the command waits, as it does for an agent's own client, so nothing is lost.
Output that was sent and may not have arrived is kept to be sent again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from aetherium.domain.errors import AetheriumError, Conflict, InvalidInput, Unavailable
from aetherium.domain.executions import Execution, ExecutionResult
from aetherium.domain.guest import OutputChunk, OutputStream
from aetherium.interfaces.guest import Attachment
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc import convert
from aetherium.rpc.changes import Changes
from aetherium.rpc.errors import as_ours, describe
from aetherium.rpc.options import STDIN_WINDOW, WINDOW

# As the agent waits for a client whose connection was lost (protocol/guest.md).
HOLD_S = 10.0
# More than can be on its way to the client: the stream's window and what gRPC has taken from us.
KEPT = 4 * WINDOW
# A piece of output costs memory, however small it is.
_LEAST = 128

Source = Callable[[], AbstractAsyncContextManager[tuple[Execution, Attachment]]]


class Session:
    """See the module's docstring.

    Args:
        source: starts or attaches; entered once, by `run`.
        stdin: bytes of stdin that the client knows to have arrived.
    """

    def __init__(self, source: Source, stdin: int) -> None:
        self._source = source
        self._changes = Changes()
        self._connection = 0
        self.execution: Execution | None = None
        self._kept: deque[OutputChunk] = deque()
        self._kept_cost = 0
        self._unsent = 0  # so many at the end of _kept were not sent to the present client
        self._unsent_cost = 0
        self._stdin: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._received = self._passed_on = stdin
        self._end_received = self._end_passed_on = False
        self._result: ExecutionResult | None = None
        self._failure: AetheriumError | None = None
        self._detached = False
        self.over = False

    async def run(self) -> None:
        """Follow the execution to its end."""
        try:
            async with self._source() as (execution, attachment):
                self.execution = execution
                self._changes.tell()
                async with asyncio.TaskGroup() as group:
                    feeder = group.create_task(self._feed(attachment))
                    await self._collect(attachment)
                    feeder.cancel()
        except asyncio.CancelledError:
            self._failure = Unavailable(
                "The worker is shutting down.", hint="The command goes on; follow it."
            )
            raise
        except Exception as error:  # the boundary of a session: told to the client, or to the log
            self._failure = as_ours(error)
        finally:
            self._changes.tell()

    # -- one connection of the client

    def connect(self) -> int:
        """A number for a connection, which puts an end to an earlier one."""
        self._connection += 1
        self._unsent, self._unsent_cost = len(self._kept), self._kept_cost
        self._changes.tell()
        return self._connection

    async def follow(
        self, connection: int, follow: pb.Follow, *, known: bool
    ) -> AsyncGenerator[pb.InteractResponse, None]:
        """All that the client is to be told, from where it is.

        Args:
            known: whether the session was there before.
        """
        told = (follow.stdin_acknowledged, False)
        reached = {OutputStream.STDOUT: follow.stdout_offset, OutputStream.STDERR: follow.stderr_offset}
        await self._changes.until(lambda: self.execution is not None or self._failure is not None)
        if self.execution is not None:
            yield self._following(self.execution, known=known)
        while True:
            await self._changes.until(partial(self._news, connection, told))
            if connection != self._connection:
                raise Conflict("Another connection of the same session has taken over.")
            if self.over:
                return
            if told != self._progress():
                told = self._progress()
                ack = pb.StdinAck(total=self._passed_on, ended=self._end_passed_on)
                yield pb.InteractResponse(stdin_ack=ack)
            elif self._unsent:
                if (chunk := _after(self._next(), reached)) is not None:
                    yield pb.InteractResponse(output=convert.chunk_to_pb(chunk))
            else:
                self.over = True
                yield self._last()

    def current(self, connection: int) -> bool:
        """Whether no later one has taken over: what an earlier one still brings, the later one repeats."""
        return connection == self._connection

    def take_stdin(self, data: bytes) -> None:
        """Bytes for the command. Raises InvalidInput for more than the window."""
        self._received += len(data)
        if self._received - self._passed_on > STDIN_WINDOW:
            raise InvalidInput("More stdin than the window is unacknowledged.", window=STDIN_WINDOW)
        self._stdin.put_nowait(data)

    def end_stdin(self) -> None:
        """No more comes after what was taken."""
        if not self._end_received:
            self._end_received = True
            self._stdin.put_nowait(None)

    def detach(self) -> None:
        """The client has enough."""
        self._detached = self.over = True
        self._changes.tell()

    def refuse(self, error: AetheriumError) -> None:
        """The client sent something wrong."""
        self._failure = error
        self._changes.tell()

    def _following(self, execution: Execution, *, known: bool) -> pb.InteractResponse:
        following = pb.Following(
            execution=convert.execution_to_pb(execution),
            stdin_received=self._received if known else None,
            stdin_ended=self._end_received,
        )
        return pb.InteractResponse(following=following)

    def _news(self, connection: int, told: tuple[int, bool]) -> bool:
        return bool(
            connection != self._connection
            or told != self._progress()
            or self._detached
            or self._unsent
            or self._result
            or self._failure
        )

    def _progress(self) -> tuple[int, bool]:
        return self._passed_on, self._end_passed_on

    def _next(self) -> OutputChunk:
        chunk = self._kept[-self._unsent]
        self._unsent -= 1
        self._unsent_cost -= _cost(chunk)
        self._changes.tell()
        return chunk

    def _last(self) -> pb.InteractResponse:
        if self._result is None:
            failure = self._failure or Unavailable("The session has ended.")
            return pb.InteractResponse(error=describe(failure))
        return pb.InteractResponse(ended=pb.Ended(result=convert.result_to_pb(self._result)))

    # -- the execution

    async def _collect(self, attachment: Attachment) -> None:
        async for chunk in attachment:
            await self._changes.until(lambda: self._unsent_cost < WINDOW)
            self._keep(chunk)
        self._result = await attachment.result()

    def _keep(self, chunk: OutputChunk) -> None:
        self._kept.append(chunk)
        self._kept_cost += _cost(chunk)
        self._unsent += 1
        self._unsent_cost += _cost(chunk)
        while self._kept_cost > KEPT and len(self._kept) > self._unsent:
            self._kept_cost -= _cost(self._kept.popleft())
        self._changes.tell()

    async def _feed(self, attachment: Attachment) -> None:
        closed = False
        while not self._end_passed_on:
            data = await self._stdin.get()
            try:
                if not closed:
                    await (attachment.close_stdin() if data is None else attachment.write_stdin(data))
            except AetheriumError:
                closed = True  # it closed its stdin, or has ended: what comes now goes nowhere
            self._passed_on += len(data or b"")
            self._end_passed_on = data is None
            self._changes.tell()


def _cost(chunk: OutputChunk) -> int:
    return max(_LEAST, len(chunk.data))


def _after(chunk: OutputChunk, reached: dict[OutputStream, int]) -> OutputChunk | None:
    """What of a piece of output the client does not have yet; `reached` moves on."""
    skip = max(0, reached[chunk.stream] - chunk.offset)
    if skip >= len(chunk.data):
        return None
    reached[chunk.stream] = chunk.offset + len(chunk.data)
    return OutputChunk(chunk.stream, chunk.offset + skip, chunk.data[skip:]) if skip else chunk


class Sessions:
    """The sessions of this worker, by the tokens that clients have made.

    Args:
        group: owns their tasks.
    """

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._all: dict[bytes, tuple[Session, asyncio.Task[None]]] = {}
        self._clients: dict[bytes, int] = {}
        self._timers: dict[bytes, asyncio.TimerHandle] = {}

    def join(self, token: bytes, source: Source, stdin: int) -> tuple[Session, bool]:
        """The client is connected, until `leave`; its session, and whether that was there before."""
        self._clients[token] = self._clients.get(token, 0) + 1
        if (timer := self._timers.pop(token, None)) is not None:
            timer.cancel()
        if token in self._all:
            return self._all[token][0], True
        session = Session(source, stdin)
        self._all[token] = session, self._group.create_task(session.run())
        return session, False

    def leave(self, token: bytes) -> None:
        """The connection has ended. The session stays for a while, unless it is over."""
        self._clients[token] -= 1
        if self._clients[token]:
            return
        del self._clients[token]
        if self._all[token][0].over:
            self._end(token)
        else:
            self._timers[token] = asyncio.get_running_loop().call_later(HOLD_S, self._end, token)

    def _end(self, token: bytes) -> None:
        self._timers.pop(token, None)
        _, task = self._all.pop(token)
        task.cancel()
