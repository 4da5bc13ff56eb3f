"""The Guest of interfaces/guest.py, over connections that are made anew when they are lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aetherium.channel.attachments import GuestAttachment
from aetherium.channel.connection import Connection
from aetherium.channel.dialing import dial
from aetherium.channel.files import GuestFiles
from aetherium.domain.errors import ChannelClosed, LimitExceeded
from aetherium.domain.executions import ExecutionResult, ExecutionSpec, TerminalSize
from aetherium.domain.guest import (
    ExecutionStatus,
    GuestEndpoint,
    GuestIdentity,
    GuestInfo,
    GuestMetrics,
    OutputStream,
)
from aetherium.protocol import messages as m
from aetherium.protocol.values import metrics_from_wire, pid_from_wire, spec_to_wire, status_from_wire

# How long a lost connection may take to come back before calls fail, as long as there is somebody to connect
# to: the agent of a busy guest may need seconds to answer. A VM that has ended is told from that at once.
RECONNECT_S = 15.0
# A guest that hangs up this often within this time is not worth another attempt.
MAX_RECONNECTS = 20
HASTE_S = 10.0
# Stdin up to this size travels with the request.
INLINE_STDIN = 32 * 1024
OUTPUT_CAP = 16 << 20


class ChannelGuest(GuestFiles):
    """See interfaces/guest.py. `lost` is set while there is no connection."""

    def __init__(self, endpoints: Sequence[GuestEndpoint], connection: Connection, info: GuestInfo) -> None:
        self._endpoints = tuple(endpoints)
        self._connection = connection
        self._info = info
        self._closed = False
        self._dialing = asyncio.Lock()
        self._reconnects: list[float] = []

    @property
    def info(self) -> GuestInfo:
        return self._info

    @property
    def lost(self) -> asyncio.Event:
        """Set when the present connection is over (the next call makes a new one)."""
        return self._connection.lost

    def disconnect(self) -> None:
        """Let go of the present connection, for example before a snapshot; the next call makes a new one."""
        self._connection.close()

    async def close(self) -> None:
        """Close the connection; executions go on."""
        self._closed = True
        self._connection.close()

    async def _connected(self) -> Connection:
        """A living connection, made anew if need be. Raises ChannelClosed."""
        if self._closed:
            raise ChannelClosed("This connection to the guest was closed.")
        if self._connection.error is None:
            return self._connection
        async with self._dialing:
            if self._connection.error is not None:
                await self._reconnect()
            return self._connection

    async def _reconnect(self) -> None:
        """Raises ChannelClosed when there is nobody, or somebody who hangs up again and again."""
        now = asyncio.get_running_loop().time()
        self._reconnects = [when for when in self._reconnects if now - when < HASTE_S]
        if len(self._reconnects) >= MAX_RECONNECTS:
            raise ChannelClosed(
                f"The connection to the guest was lost {MAX_RECONNECTS} times within {HASTE_S:g} seconds."
            )
        self._reconnects.append(now)
        self._connection, self._info = await dial(self._endpoints, timeout_s=RECONNECT_S, patient=False)

    async def _call(self, method: str, params: dict[str, Any], *, repeat: bool = True) -> Any:
        """One request with a plain answer. With `repeat` it is sent once more after a lost connection."""
        connection = await self._connected()
        try:
            with connection.open(method, params) as stream:
                return await stream.answer()
        except ChannelClosed:
            if not repeat:
                raise
        connection = await self._connected()
        with connection.open(method, params) as stream:
            return await stream.answer()

    # -- the VM

    async def ping(self) -> float:
        """Round-trip time in seconds."""
        begin = time.perf_counter()
        await self._call(m.PING, {})
        return time.perf_counter() - begin

    async def identify(self, identity: GuestIdentity) -> None:
        """Give the VM its identity, clock and fresh randomness."""
        params = {
            "hostname": identity.hostname,
            "machine_id": identity.machine_id,
            "seed": identity.seed,
            "time_ns": identity.time_ns,
        }
        await self._call(m.IDENTIFY, params)

    async def metrics(self) -> GuestMetrics:
        """Live facts from inside."""
        return metrics_from_wire(await self._call(m.METRICS, {}))

    async def power_off(self) -> None:
        """Power off; returns once the agent has agreed."""
        await self._call(m.POWER_OFF, {}, repeat=False)

    # -- executions

    async def start(self, execution_id: str, spec: ExecutionSpec) -> int:
        """Start a command; its pid."""
        return pid_from_wire(await self._call(m.EXEC_START, {"id": execution_id, "spec": spec_to_wire(spec)}))

    @asynccontextmanager
    async def attach(
        self, execution_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AsyncIterator[GuestAttachment]:
        """Follow an execution."""
        attachment = GuestAttachment(
            self._connected,
            m.EXEC_ATTACH,
            {"id": execution_id},
            stdout_offset=stdout_offset,
            stderr_offset=stderr_offset,
        )
        try:
            await attachment.begin()
            await attachment.confirmed()
            yield attachment
        finally:
            attachment.close()

    @asynccontextmanager
    async def launch(
        self, execution_id: str, spec: ExecutionSpec, *, stdin: bytes = b"", eof: bool = False
    ) -> AsyncIterator[GuestAttachment]:
        """Start and follow in one round trip. A command that cannot be started has a result that says so.

        `stdin`, at most 32 KiB, is given to it at once; `eof` ends its stdin after that.
        """
        params = {"id": execution_id, "spec": spec_to_wire(spec), "input": stdin, "eof": eof}
        attachment = GuestAttachment(self._connected, m.EXEC_RUN, params)
        try:
            await attachment.begin()
            yield attachment
        finally:
            attachment.close()

    async def run(
        self, execution_id: str, spec: ExecutionSpec, *, stdin: bytes = b"", output_cap: int = OUTPUT_CAP
    ) -> tuple[ExecutionResult, bytes, bytes]:
        """Run a command to its end: result, stdout, stderr.

        Raises LimitExceeded, after killing it, when it writes more than `output_cap` bytes.
        """
        inline = len(stdin) <= INLINE_STDIN
        first = stdin if inline else b""
        async with self.launch(execution_id, spec, stdin=first, eof=inline) as attachment:
            try:
                async with asyncio.TaskGroup() as group:
                    if not inline:
                        group.create_task(_feed(attachment, stdin))
                    collected = await self._collect(execution_id, attachment, output_cap)
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from errors
            return await attachment.result(), *collected

    async def _collect(self, execution_id: str, attachment: GuestAttachment, cap: int) -> tuple[bytes, bytes]:
        outputs = {OutputStream.STDOUT: bytearray(), OutputStream.STDERR: bytearray()}
        async for chunk in attachment:
            cap -= len(chunk.data)
            if cap < 0:
                await self.kill(execution_id)
                raise LimitExceeded(
                    f"The execution {execution_id} wrote too much output.",
                    hint="Raise the cap, or write to a file and read that.",
                )
            outputs[chunk.stream] += chunk.data
        return bytes(outputs[OutputStream.STDOUT]), bytes(outputs[OutputStream.STDERR])

    async def signal(self, execution_id: str, signal: int) -> None:
        """Signal the process group."""
        await self._call(m.EXEC_SIGNAL, {"id": execution_id, "signal": int(signal)}, repeat=False)

    async def kill(self, execution_id: str) -> None:
        """SIGKILL everything that it has started."""
        await self._call(m.EXEC_KILL, {"id": execution_id})

    async def resize(self, execution_id: str, size: TerminalSize) -> None:
        """Change the size of its terminal."""
        await self._call(m.EXEC_RESIZE, {"id": execution_id, "rows": size.rows, "columns": size.columns})

    async def executions(self) -> Sequence[ExecutionStatus]:
        """All executions that the agent still knows."""
        return await self._entries(m.EXEC_LIST, {}, status_from_wire)

    async def forget(self, execution_id: str) -> None:
        """Drop an ended execution."""
        await self._call(m.EXEC_FORGET, {"id": execution_id}, repeat=False)


async def _feed(attachment: GuestAttachment, data: bytes) -> None:
    await attachment.write_stdin(data)
    await attachment.close_stdin()
