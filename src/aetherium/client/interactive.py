"""An execution with stdin or a terminal, over a WebSocket; see aetherium.gateway.rest.interactive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from aetherium.client import values
from aetherium.client.errors import rebuild
from aetherium.client.gateways import Gateway
from aetherium.domain.errors import AetheriumError, ChannelClosed, ProtocolViolation
from aetherium.domain.executions import Execution, ExecutionResult, TerminalSize
from aetherium.domain.guest import OutputChunk, OutputStream

_WINDOW = 8
_PIECE = 32 * 1024
_STREAMS = {1: OutputStream.STDOUT, 2: OutputStream.STDERR}
_HEAD = 9
# A piece of output with its head is far below this.
_MAX_MESSAGE = 16 << 20


class Session:
    """One attachment. Iterate for output until the execution has ended; then `result` is set.

    Writing waits while the program does not read. All methods may be used at once.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._credit = asyncio.Semaphore(_WINDOW)
        self._ended = False
        self.execution: Execution | None = None
        self.result: ExecutionResult | None = None

    async def write(self, data: bytes) -> None:
        """Send stdin; returns when it is on its way and not too much else is."""
        for start in range(0, len(data), _PIECE):
            await self._credit.acquire()
            if self._ended:
                return
            await self._send(data[start : start + _PIECE])

    async def close_stdin(self) -> None:
        """Send end of file."""
        await self._credit.acquire()  # it takes a place in the gateway's queue as well
        await self._say(eof=True)

    async def signal(self, number: int) -> None:
        """Send a signal to its process group."""
        await self._say(signal=number)

    async def kill(self) -> None:
        """Kill everything that it has started."""
        await self._say(kill=True)

    async def resize(self, size: TerminalSize) -> None:
        """Change the size of its terminal."""
        await self._say(resize={"rows": size.rows, "columns": size.columns})

    async def __aiter__(self) -> AsyncIterator[OutputChunk]:
        try:
            while True:
                message = await self._receive()
                if isinstance(message, bytes):
                    yield _chunk(message)
                elif self._control(json.loads(message)):
                    return
        finally:
            self._ended = True
            for _ in range(_WINDOW):  # whoever waits to write is done
                self._credit.release()

    async def begin(self) -> Execution:
        """The execution, once it has been started."""
        message = await self._receive()
        value = json.loads(message)
        if "error" in value:
            raise rebuild(value["error"])
        self.execution = values.load(Execution, value.get("execution"))
        return self.execution

    def _control(self, value: dict[str, Any]) -> bool:
        """Whether it was the last message."""
        if "error" in value:
            raise rebuild(value["error"])
        if "ack" in value:
            self._credit.release()
        elif "result" in value:
            self.result = values.load(ExecutionResult, value["result"])
            return True
        return False

    async def _say(self, **message: Any) -> None:
        if not self._ended:
            await self._send(json.dumps(message))

    async def _send(self, message: str | bytes) -> None:
        try:
            await self._socket.send(message)
        except ConnectionClosed:
            if not self._ended:
                return  # whoever iterates learns why

    async def _receive(self) -> str | bytes:
        try:
            return await self._socket.recv()
        except ConnectionClosed as error:
            _cut(error)


def _cut(error: ConnectionClosed) -> NoReturn:
    raise ChannelClosed(
        "The connection to the gateway was cut.", hint="The execution goes on: attach to it again."
    ) from error


def _chunk(message: bytes) -> OutputChunk:
    if len(message) < _HEAD or message[0] not in _STREAMS:
        raise ProtocolViolation("The gateway sent a piece of output that cannot be read.")
    return OutputChunk(_STREAMS[message[0]], int.from_bytes(message[1:_HEAD]), message[_HEAD:])


@asynccontextmanager
async def connect(gateway: Gateway, path: str, first: Any = None) -> AsyncIterator[Session]:
    """A session over the WebSocket at `path`; `first` is the message that begins it, if there is one."""
    async with await _opened(gateway, path) as connection:
        if first is not None:
            await connection.send(json.dumps(first))
        session = Session(connection)
        await session.begin()
        yield session


async def _opened(gateway: Gateway, path: str) -> ClientConnection:
    options: dict[str, Any] = {
        "additional_headers": gateway.headers,
        "compression": None,
        "max_size": _MAX_MESSAGE,
        "max_queue": 8,
        "user_agent_header": None,
    }
    url = f"{gateway.websocket_url}{path}"
    try:
        if gateway.socket is not None:
            return await unix_connect(str(gateway.socket), url, ping_interval=None, proxy=None, **options)
        return await websocket_connect(url, ssl=gateway.tls, **options)
    except InvalidStatus as error:
        raise _refused(error, gateway) from error
    except (OSError, InvalidHandshake) as error:
        raise gateway.silent(error) from error


def _refused(error: InvalidStatus, gateway: Gateway) -> AetheriumError:
    try:
        problem = json.loads(error.response.body or b"")
    except ValueError:
        return gateway.silent(error)
    return rebuild(problem, retry_after=error.response.headers.get("retry-after", ""))
