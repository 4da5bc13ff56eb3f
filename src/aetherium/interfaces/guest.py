"""How the host talks to the agent in one VM."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aetherium.domain.executions import ExecutionResult, ExecutionSpec, TerminalSize
from aetherium.domain.guest import (
    ExecutionStatus,
    FileEvent,
    FileStat,
    GuestEndpoint,
    GuestIdentity,
    GuestInfo,
    GuestMetrics,
    OutputChunk,
)


class Attachment(Protocol):
    """A client's view of one execution. Iterate for output; iteration ends when the execution has ended
    and all its output was delivered. Leaving the context detaches and lets the execution go on."""

    def __aiter__(self) -> AsyncIterator[OutputChunk]: ...

    async def write_stdin(self, data: bytes) -> None:
        """Send `data`; waits while the guest does not read (flow control)."""
        ...

    async def close_stdin(self) -> None:
        """Send end of file."""
        ...

    async def result(self) -> ExecutionResult:
        """Wait for the end. Output that nobody iterates over does not hold it up."""
        ...


class Guest(Protocol):
    """The agent in one VM.

    All calls may be made concurrently. Raises, from every call: ChannelClosed when the connection is lost
    and cannot be re-established before the deadline, GuestError when the agent refuses (``details['errno']``
    names the cause, for example ``ENOENT``), ProtocolViolation when the peer misbehaves.

    A lost connection does not end executions: `attach` again with the offsets reached.
    """

    @property
    def info(self) -> GuestInfo: ...

    async def ping(self) -> float:
        """Round-trip time in seconds."""
        ...

    async def identify(self, identity: GuestIdentity) -> None:
        """Give the VM its identity, clock and fresh randomness; complete before anything runs in it."""
        ...

    async def start(self, execution_id: str, spec: ExecutionSpec) -> int:
        """Start a command and return its pid. The same `execution_id` again returns the first answer
        (idempotent), so a start whose answer was lost can be repeated."""
        ...

    def attach(
        self, execution_id: str, *, stdout_offset: int = 0, stderr_offset: int = 0
    ) -> AbstractAsyncContextManager[Attachment]:
        """Follow an execution from these offsets; several clients may do so at once."""
        ...

    def launch(
        self, execution_id: str, spec: ExecutionSpec, *, stdin: bytes = b"", eof: bool = False
    ) -> AbstractAsyncContextManager[Attachment]:
        """Start and attach in one round trip. A command that cannot be started raises nothing here: its
        result has the state `failed`. `stdin`, at most 32 KiB, is given to it at once; `eof` ends its stdin
        after that. The same `execution_id` again attaches to the first."""
        ...

    async def run(
        self, execution_id: str, spec: ExecutionSpec, *, stdin: bytes = b"", output_cap: int = 16 << 20
    ) -> tuple[ExecutionResult, bytes, bytes]:
        """Run a command to its end: result, stdout, stderr. Raises LimitExceeded, after killing it, when it
        writes more than `output_cap` bytes."""
        ...

    async def signal(self, execution_id: str, signal: int) -> None:
        """Send a signal to the execution's whole process group."""
        ...

    async def kill(self, execution_id: str) -> None:
        """SIGKILL everything the execution has started, whatever sessions it made; state: cancelled."""
        ...

    async def resize(self, execution_id: str, size: TerminalSize) -> None:
        """Change the size of its terminal."""
        ...

    async def executions(self) -> Sequence[ExecutionStatus]:
        """All executions that the agent still knows."""
        ...

    async def forget(self, execution_id: str) -> None:
        """Drop the kept output of an ended execution."""
        ...

    def read(self, path: str, *, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Stream a file's bytes, or a range of them."""
        ...

    async def write(
        self,
        path: str,
        data: AsyncIterable[bytes] | bytes,
        *,
        mode: int | None = None,
        user: str | None = None,
        offset: int | None = None,
    ) -> FileStat:
        """Write a file. With no `offset`: replaced atomically (a reader sees the old or the new whole).
        With one: written in place from there. Missing parent directories are made."""
        ...

    async def stat(self, path: str) -> FileStat: ...

    async def list(self, path: str) -> Sequence[FileStat]:
        """The entries of a directory, by name."""
        ...

    async def mkdir(
        self, path: str, *, parents: bool = True, mode: int = 0o755, user: str | None = None
    ) -> None: ...

    async def move(self, source: str, target: str) -> None: ...

    async def remove(self, path: str, *, recursive: bool = False) -> None: ...

    async def chmod(self, path: str, mode: int) -> None: ...

    def watch(self, path: str) -> AbstractAsyncContextManager[AsyncIterator[FileEvent]]:
        """Changes under `path`, recursively; entering waits until the watch is in place."""
        ...

    def archive_out(
        self, path: str, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> AsyncIterator[bytes]:
        """Stream a tar archive (pax) of a file or directory; patterns are globs relative to `path`
        (``**`` crosses directories)."""
        ...

    async def archive_in(self, path: str, data: AsyncIterable[bytes], *, user: str | None = None) -> None:
        """Unpack a tar stream below `path`; entries that would leave it are refused. With `user`, all
        entries become that user's."""
        ...

    async def metrics(self) -> GuestMetrics: ...

    async def power_off(self) -> None:
        """Sync, terminate everything and power off; returns once the agent has agreed."""
        ...

    async def close(self) -> None:
        """Close the connection; executions go on."""
        ...


class GuestConnector(Protocol):
    """Opens connections to agents."""

    async def connect(self, endpoints: Sequence[GuestEndpoint], *, timeout_s: float) -> Guest:
        """Connect to the first of `endpoints` that is free and answers the handshake.

        Raises VMUnresponsive when none does within `timeout_s`.
        """
        ...
