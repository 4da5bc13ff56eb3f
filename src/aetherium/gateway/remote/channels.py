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
    secure_channel,
)
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from aetherium.domain.errors import Unavailable
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.protocol.generated.worker_pb2_grpc import WorkerServiceStub
from aetherium.rpc import options
from aetherium.rpc.auth import Metadata, credentials
from aetherium.rpc.errors import rebuild
from aetherium.rpc.listening import UNIX, is_local
from aetherium.rpc.tls import Identity

if TYPE_CHECKING:  # the stubs know it, the generated code does not
    from aetherium.protocol.generated.worker_pb2_grpc import WorkerServiceAsyncStub

IDLE_S = 300.0
_EXPLAIN_S = 2.0
# What gRPC says when the handshake failed: on this side, or (only that it is closed) on the other one.
_CLOSED = "Socket closed"
_REFUSALS = ("handshake failed", "Verification", _CLOSED)

Request = TypeVar("Request")
Response = TypeVar("Response")
Unary = Callable[["WorkerServiceAsyncStub"], UnaryUnaryMultiCallable[Request, Response]]
Reading = Callable[["WorkerServiceAsyncStub"], UnaryStreamMultiCallable[Request, Response]]
Writing = Callable[["WorkerServiceAsyncStub"], StreamStreamMultiCallable[Request, Response]]


class Link:
    """Calls to one worker. Raises the errors that its services raise, and Cut (rpc/errors.py)."""

    def __init__(self, channel: Channel, address: str, metadata: Metadata, *, secure: bool) -> None:
        self._channel = channel
        self._address = address
        self._metadata = metadata
        self._secure = secure
        self._stub: WorkerServiceAsyncStub = WorkerServiceStub(channel)

    async def ready(self, timeout_s: float) -> bool:
        """Wait until there is a connection; whether it came in time. What is called before that is lost.

        Raises Unavailable if one side refuses the other's certificate: time will not mend that.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while (
                    state := self._channel.get_state(try_to_connect=True)
                ) is not ChannelConnectivity.READY:
                    await self._channel.wait_for_state_change(state)
        except TimeoutError:
            if self._secure:
                await self._explain()
            return False
        return True

    async def _explain(self) -> None:
        """Only a call is told why there is no connection."""
        try:
            await HealthStub(self._channel).Check(HealthCheckRequest(), timeout=_EXPLAIN_S)
        except AioRpcError as error:
            reason = (error.details() or "").rpartition("last error: ")[2]
            if any(sign in reason for sign in _REFUSALS):
                raise _refused(self._address, reason) from error

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


def _refused(address: str, reason: str) -> Unavailable:
    if _CLOSED in reason:
        reason = f"{reason} (the worker refuses this gateway's certificate, or has none itself)"
    return Unavailable(
        f"There is no TLS connection to the worker at {address}: {reason}.",
        hint="See which certificate has expired, is of another authority or for another host:"
        " aetherium certs show. The worker's log says what it refuses.",
        address=address,
    )


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
        identity: this gateway's certificate, for workers that are not reached over a Unix socket.
        idle_s: seconds without a user after which a connection is closed, the next time that any is used.
    """

    def __init__(self, token: str, identity: Identity | None = None, *, idle_s: float = IDLE_S) -> None:
        self._metadata = credentials(token)
        self._identity = identity
        self._idle_s = idle_s
        # By address, and by version of the certificate that was shown.
        self._entries: dict[tuple[str, int], _Entry] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key in tuple(self._entries):
            await self._entries.pop(key).channel.close(None)

    @property
    def addresses(self) -> frozenset[str]:
        """Where there are connections to."""
        return frozenset(address for address, _ in self._entries)

    @asynccontextmanager
    async def use(self, address: str) -> AsyncIterator[Link]:
        """The connection to `address`, which stays open for the block. Raises Unavailable for one that would
        go over a network in the clear."""
        key = address, self._version(address)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = self._open(address)
        entry.users += 1
        await self._close_idle()
        try:
            yield entry.link
        finally:
            entry.users -= 1
            entry.used_at = asyncio.get_running_loop().time()

    def _version(self, address: str) -> int:
        if self._identity is None or address.startswith(UNIX):
            return 0
        self._identity.refresh()
        return self._identity.version

    def _open(self, address: str) -> _Entry:
        secure = self._identity is not None and not address.startswith(UNIX)
        if self._identity is not None and secure:
            channel = secure_channel(address, self._identity.for_client(), options=options.CLIENT)
        elif is_local(address):
            channel = insecure_channel(address, options=options.CLIENT)
        else:
            raise Unavailable(
                f"The worker at {address} is on another host, and this gateway has no certificate.",
                hint="Set tls_ca, tls_cert and tls_key; aetherium certs makes them.",
                address=address,
            )
        return _Entry(channel, Link(channel, address, self._metadata, secure=secure))

    async def _close_idle(self) -> None:
        before = asyncio.get_running_loop().time() - self._idle_s
        for key, entry in tuple(self._entries.items()):
            if not entry.users and entry.used_at < before:
                del self._entries[key]
                await entry.channel.close(None)
