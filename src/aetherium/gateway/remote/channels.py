"""Connections to workers: one for each address, closed when nobody has used it for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from grpc import ChannelConnectivity
from grpc.aio import (
    AioRpcError,
    Channel,
    StreamStreamCall,
    StreamStreamMultiCallable,
    UnaryStreamMultiCallable,
    UnaryUnaryMultiCallable,
    insecure_channel,
)

from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.protocol.generated.worker_pb2_grpc import WorkerServiceStub
from aetherium.rpc import options
from aetherium.rpc.auth import Metadata, credentials
from aetherium.rpc.errors import rebuild

if TYPE_CHECKING:  # the stubs know it, the generated code does not
    from aetherium.protocol.generated.worker_pb2_grpc import WorkerServiceAsyncStub

IDLE_S = 300.0

Request = TypeVar("Request")
Response = TypeVar("Response")
Unary = Callable[["WorkerServiceAsyncStub"], UnaryUnaryMultiCallable[Request, Response]]
Reading = Callable[["WorkerServiceAsyncStub"], UnaryStreamMultiCallable[Request, Response]]
Writing = Callable[["WorkerServiceAsyncStub"], StreamStreamMultiCallable[Request, Response]]


class Link:
    """Calls to one worker. Raises the errors that its services raise, and Cut (rpc/errors.py)."""

    def __init__(self, channel: Channel, metadata: Metadata) -> None:
        self._channel = channel
        self._metadata = metadata
        self._stub: WorkerServiceAsyncStub = WorkerServiceStub(channel)

    async def ready(self, timeout_s: float) -> bool:
        """Wait until there is a connection; whether it came in time. What is called before that is lost."""
        try:
            async with asyncio.timeout(timeout_s):
                while (
                    state := self._channel.get_state(try_to_connect=True)
                ) is not ChannelConnectivity.READY:
                    await self._channel.wait_for_state_change(state)
        except TimeoutError:
            return False
        return True

    async def unary(self, method: Unary[Request, Response], request: Request) -> Response:
        """One request, one answer. Cancelled, the call is cancelled on the worker too."""
        try:
            return await method(self._stub)(request, metadata=self._metadata)
        except AioRpcError as error:
            raise rebuild(error) from error

    async def stream(
        self, method: Reading[Request, Response], request: Request
    ) -> AsyncGenerator[Response, None]:
        """One request, many answers, which the worker sends as they are taken. Close it (aclosing)."""
        call = method(self._stub)(request, metadata=self._metadata)
        try:
            async for response in call:
                yield response
        except AioRpcError as error:
            raise rebuild(error) from error
        finally:
            call.cancel()

    def upload(self, method: Writing[Request, Response]) -> StreamStreamCall[Request, Response]:
        """A call to be written to; AioRpcError is the caller's to turn."""
        return method(self._stub)(None, metadata=self._metadata)

    def interact(self) -> StreamStreamCall[pb.InteractRequest, pb.InteractResponse]:
        """A call to be written to and read; AioRpcError is the caller's to turn."""
        return self._stub.Interact(None, metadata=self._metadata)


@dataclass(slots=True)
class _Entry:
    channel: Channel
    link: Link
    users: int = 0
    used_at: float = 0.0


class Channels:
    """A context manager: leaving it closes all.

    Args:
        token: the cluster's token. Raises InvalidInput if it cannot be one.
        idle_s: seconds without a user after which a connection is closed, the next time that any is used.
    """

    def __init__(self, token: str, *, idle_s: float = IDLE_S) -> None:
        self._metadata = credentials(token)
        self._idle_s = idle_s
        self._entries: dict[str, _Entry] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for address in tuple(self._entries):
            await self._entries.pop(address).channel.close(None)

    @property
    def addresses(self) -> frozenset[str]:
        """Where there are connections to."""
        return frozenset(self._entries)

    @asynccontextmanager
    async def use(self, address: str) -> AsyncIterator[Link]:
        """The connection to `address`, which stays open for the block."""
        entry = self._entries.get(address)
        if entry is None:
            channel = insecure_channel(address, options=options.CLIENT)
            entry = self._entries[address] = _Entry(channel, Link(channel, self._metadata))
        entry.users += 1
        await self._close_idle()
        try:
            yield entry.link
        finally:
            entry.users -= 1
            entry.used_at = asyncio.get_running_loop().time()

    async def _close_idle(self) -> None:
        before = asyncio.get_running_loop().time() - self._idle_s
        for address, entry in tuple(self._entries.items()):
            if not entry.users and entry.used_at < before:
                del self._entries[address]
                await entry.channel.close(None)
