# ruff: noqa: N802  # the methods are named as in the .proto file
"""Executions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

from grpc.aio import ServicerContext

from aetherium.domain.errors import InvalidInput
from aetherium.domain.executions import Execution
from aetherium.interfaces.guest import Attachment
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc import convert
from aetherium.rpc.errors import as_ours
from aetherium.worker.grpc.services import Services
from aetherium.worker.grpc.sessions import Session, Sessions

Context = ServicerContext[Any, Any]

# Whoever knows a session's token may follow and feed it.
_SHORTEST_TOKEN = 16


class ExecutionCalls:
    """See worker.proto."""

    def __init__(self, services: Services, sessions: Sessions) -> None:
        self._executions = services.executions
        self._sessions = sessions

    async def Run(self, request: pb.RunRequest, context: Context) -> pb.RunResponse:
        start, spec = request.start, convert.spec_from_pb(request.start.spec)
        execution, stdout, stderr = await self._executions.run(
            start.vm_id, spec, stdin=request.stdin, execution_id=start.execution_id
        )
        return pb.RunResponse(execution=convert.execution_to_pb(execution), stdout=stdout, stderr=stderr)

    async def Start(self, request: pb.StartRequest, context: Context) -> pb.StartResponse:
        start = request.start
        spec = convert.spec_from_pb(start.spec)
        execution = await self._executions.start(start.vm_id, spec, execution_id=start.execution_id)
        return pb.StartResponse(execution=convert.execution_to_pb(execution))

    async def Interact(
        self, request_iterator: AsyncIterator[pb.InteractRequest], context: Context
    ) -> AsyncIterator[pb.InteractResponse]:
        follow = await _follow(request_iterator)
        source = partial(self._source, follow)
        session, known = self._sessions.join(follow.session, source, follow.stdin_acknowledged)
        connection = session.connect()
        receiving = asyncio.ensure_future(self._receive(session, connection, request_iterator))
        try:
            async with aclosing(session.follow(connection, follow, known=known)) as told:
                async for response in told:
                    if response.HasField("ended") and session.execution is not None:
                        recorded = await self._executions.get(session.execution.id)
                        response.ended.execution.CopyFrom(convert.execution_to_pb(recorded))
                    yield response
        finally:
            self._sessions.leave(follow.session)
            receiving.cancel()
            await asyncio.wait({receiving})

    async def Signal(self, request: pb.SignalRequest, context: Context) -> pb.SignalResponse:
        await self._executions.signal(request.execution_id, request.signal)
        return pb.SignalResponse()

    async def Kill(self, request: pb.KillRequest, context: Context) -> pb.KillResponse:
        await self._executions.kill(request.execution_id)
        return pb.KillResponse()

    async def Resize(self, request: pb.ResizeRequest, context: Context) -> pb.ResizeResponse:
        await self._executions.resize(request.execution_id, convert.size_from_pb(request.size))
        return pb.ResizeResponse()

    async def WaitExecution(
        self, request: pb.WaitExecutionRequest, context: Context
    ) -> pb.WaitExecutionResponse:
        execution = await self._executions.wait(request.execution_id)
        return pb.WaitExecutionResponse(execution=convert.execution_to_pb(execution))

    async def GetExecution(
        self, request: pb.GetExecutionRequest, context: Context
    ) -> pb.GetExecutionResponse:
        execution = await self._executions.get(request.execution_id)
        return pb.GetExecutionResponse(execution=convert.execution_to_pb(execution))

    async def ListExecutions(
        self, request: pb.ListExecutionsRequest, context: Context
    ) -> AsyncIterator[pb.ListExecutionsResponse]:
        for execution in await self._executions.list(request.vm_id):
            yield pb.ListExecutionsResponse(execution=convert.execution_to_pb(execution))

    @asynccontextmanager
    async def _source(self, follow: pb.Follow) -> AsyncIterator[tuple[Execution, Attachment]]:
        """The execution that is to be followed, begun if need be."""
        start = follow.start
        if follow.HasField("start"):
            spec = convert.spec_from_pb(start.spec)
            first = None
            if start.repeat:
                first = await self._executions.known(start.execution_id, start.vm_id, spec)
            if first is None:
                async with self._executions.launch(
                    start.vm_id, spec, execution_id=start.execution_id
                ) as launched:
                    yield launched
                return
        else:
            first = await self._executions.get(follow.execution_id)
        async with self._executions.attach(
            first.id, stdout_offset=follow.stdout_offset, stderr_offset=follow.stderr_offset
        ) as attachment:
            yield first, attachment

    async def _receive(
        self, session: Session, connection: int, requests: AsyncIterator[pb.InteractRequest]
    ) -> None:
        try:
            async for request in requests:
                if session.current(connection):
                    await self._take(session, request)
        except Exception as error:  # the boundary of a task: told to the client, or to the log
            session.refuse(as_ours(error))

    async def _take(self, session: Session, request: pb.InteractRequest) -> None:
        kind = request.WhichOneof("request")
        execution = session.execution
        if kind == "detach":
            session.detach()
        elif execution is None:
            raise InvalidInput("Nothing can be sent before the execution is followed.")
        elif kind == "stdin":
            session.take_stdin(request.stdin)
        elif kind == "stdin_end":
            session.end_stdin()
        elif kind == "signal":
            await self._executions.signal(execution.id, request.signal)
        elif kind == "kill":
            await self._executions.kill(execution.id)
        elif kind == "resize":
            await self._executions.resize(execution.id, convert.size_from_pb(request.resize))
        else:
            raise InvalidInput("Only the first request says what is followed.")


async def _follow(requests: AsyncIterator[pb.InteractRequest]) -> pb.Follow:
    """The first request. Raises InvalidInput."""
    async for request in requests:
        if request.HasField("follow") and len(request.follow.session) >= _SHORTEST_TOKEN:
            return request.follow
        break
    raise InvalidInput("The first request has to say what is followed, and in which session.")
