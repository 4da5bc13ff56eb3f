"""Calls to the worker that has a VM, and what is done when its connection is lost.

A call that only reads, or whose repetition does no harm, is made again until it succeeds or PATIENCE_S
seconds have passed. Any other is made once: if the answer is lost, the caller is told that it may have been
carried out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TypeVar

from aetherium.domain.errors import NotFound, Unavailable
from aetherium.gateway.remote.channels import Channels, Link, Reading, Request, Response, Unary
from aetherium.protocol.generated import worker_pb2 as pb
from aetherium.rpc.errors import Cut

AddressOf = Callable[[str], Awaitable[str]]

# A worker that is started again answers after a few seconds.
PATIENCE_S = 30.0
# A connection takes milliseconds; to a worker that is just being started, seconds.
CONNECT_S = 5.0
_PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

# What carries bytes.
Piece = TypeVar("Piece", pb.ReadFileResponse, pb.ReadJobFileResponse, pb.ReadImagePartResponse)


class Unreached(Exception):
    """Nothing was sent, since there is no connection; `reason` says why."""

    def __init__(self, reason: Unavailable) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Patience:
    """How long a lost connection may take to come back. It counts from the last progress."""

    def __init__(self, worker_id: str, seconds: float) -> None:
        self._worker_id = worker_id
        self._seconds = seconds
        self._deadline: float | None = None
        self._failures = 0

    def progress(self) -> None:
        """The connection works."""
        self._deadline = None
        self._failures = 0

    async def endure(self, error: Cut | Unreached) -> None:
        """Wait before the next attempt. Raises Unavailable at the deadline, and for a worker that could not
        be reached in the first place."""
        now = asyncio.get_running_loop().time()
        if self._deadline is None:
            if isinstance(error, Unreached) and not self._failures:
                raise error.reason from error
            self._deadline = now + self._seconds
        if now >= self._deadline:
            raise self._given_up(error) from error
        pause = _PAUSES_S[min(self._failures, len(_PAUSES_S) - 1)]
        self._failures += 1
        await asyncio.sleep(min(pause, self._deadline - now))

    def _given_up(self, error: Cut | Unreached) -> Unavailable:
        if isinstance(error, Unreached):
            return error.reason
        return Unavailable(
            f"The connection to the worker {self._worker_id} was lost ({error}) and did not come back within"
            f" {self._seconds:g} seconds.",
            hint="Try again when it is back; commands in its VMs go on.",
            worker_id=self._worker_id,
        )


class Workers:
    """The workers of the cluster.

    Args:
        address_of: where a worker listens; raises Unavailable if it is lost.
        patience_s: see the module's docstring.
        connect_s: seconds that a first connection may take.
    """

    def __init__(
        self, channels: Channels, address_of: AddressOf, *, patience_s: float, connect_s: float
    ) -> None:
        self._channels = channels
        self._address_of = address_of
        self._patience_s = patience_s
        self._connect_s = connect_s

    def patience(self, worker_id: str) -> Patience:
        """For a call that may be repeated."""
        return Patience(worker_id, self._patience_s)

    @asynccontextmanager
    async def reach(self, worker_id: str) -> AsyncIterator[Link]:
        """A worker that is connected. Raises Unreached."""
        try:
            address = await self._address_of(worker_id)
        except Unavailable as error:
            raise Unreached(error) from error
        async with self._channels.use(address) as link:
            if not await link.ready(self._connect_s):
                raise Unreached(_unreachable(worker_id, address))
            yield link

    async def call(self, worker_id: str, method: Unary[Request, Response], request: Request) -> Response:
        """A call that may be repeated."""
        patience = self.patience(worker_id)
        while True:
            try:
                async with self.reach(worker_id) as link:
                    return await link.unary(method, request)
            except (Cut, Unreached) as error:
                await patience.endure(error)

    async def call_once(self, worker_id: str, method: Unary[Request, Response], request: Request) -> Response:
        """A call that must not be repeated. Raises Unavailable if its answer was lost."""
        async with self.reach_once(worker_id) as link:
            return await link.unary(method, request)

    async def delete(self, worker_id: str, method: Unary[Request, Response], request: Request) -> None:
        """A call that removes something: if it has to be repeated, not to be there is what was wanted."""
        try:
            async with self.reach(worker_id) as link:
                await link.unary(method, request)
        except Unreached as error:
            raise error.reason from error
        except Cut:
            with suppress(NotFound):
                await self.call(worker_id, method, request)

    async def collect(
        self, worker_id: str, method: Reading[Request, Response], request: Request
    ) -> list[Response]:
        """All that a stream which may be repeated has."""
        patience = self.patience(worker_id)
        while True:
            try:
                async with self.reach(worker_id) as link, aclosing(link.stream(method, request)) as responses:
                    return [response async for response in responses]
            except (Cut, Unreached) as error:
                await patience.endure(error)

    @asynccontextmanager
    async def reach_once(self, worker_id: str) -> AsyncIterator[Link]:
        """As `reach`, for a block that cannot be repeated: whatever is lost in it becomes Unavailable."""
        try:
            async with self.reach(worker_id) as link:
                yield link
        except Unreached as error:
            raise error.reason from error
        except Cut as error:
            raise Unavailable(
                f"The connection to the worker {worker_id} was lost ({error}).",
                hint="What was going on may have been done, or a part of it: look before trying again.",
                worker_id=worker_id,
            ) from error

    async def pieces(
        self, worker_id: str, method: Reading[Request, Piece], request_after: Callable[[int], Request]
    ) -> AsyncGenerator[bytes, None]:
        """Bytes, without a gap or a repeat over lost connections; `request_after` makes the request for what
        follows the first n bytes."""
        patience, done = self.patience(worker_id), 0
        while True:
            try:
                async with (
                    self.reach(worker_id) as link,
                    aclosing(link.stream(method, request_after(done))) as responses,
                ):
                    async for response in responses:
                        patience.progress()
                        done += len(response.data)
                        yield response.data
            except (Cut, Unreached) as error:
                await patience.endure(error)
            else:
                return


def _unreachable(worker_id: str, address: str) -> Unavailable:
    return Unavailable(
        f"The worker {worker_id} cannot be reached at {address}.",
        hint="Look whether it runs, and what its log says.",
        worker_id=worker_id,
    )
