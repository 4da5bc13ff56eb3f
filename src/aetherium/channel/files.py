"""Files of the guest, from the host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from aetherium.channel.connection import Connection
from aetherium.channel.streams import Stream, decoded
from aetherium.domain.errors import ChannelClosed, LimitExceeded, ProtocolViolation
from aetherium.domain.guest import FileEvent, FileStat
from aetherium.protocol import frames as f
from aetherium.protocol import messages as m
from aetherium.protocol.values import event_from_wire, stat_from_wire

T = TypeVar("T")
WINDOW = 1 << 20
# A list of everything in a huge directory must not fill the host.
MAX_LISTED_BYTES = 32 << 20


class GuestFiles(ABC):
    """The file requests of a Guest."""

    @abstractmethod
    async def _connected(self) -> Connection: ...

    @abstractmethod
    async def _call(self, method: str, params: dict[str, Any], *, repeat: bool = True) -> Any: ...

    async def _entries(self, method: str, params: dict[str, Any], convert: Callable[[Any], T]) -> list[T]:
        """All entries of an answer that comes in batches. Raises LimitExceeded."""
        entries: list[T] = []
        size = 0
        with (await self._connected()).open(method, params, window=WINDOW) as stream:
            while (item := await stream.next()) is not None:
                size += len(item.payload)
                if size > MAX_LISTED_BYTES:
                    raise LimitExceeded(f"{method} has more than {MAX_LISTED_BYTES} bytes of entries.")
                # Converted at once: what is no entry can be a hundred times as large as it was packed.
                entries += [convert(entry) for entry in _batch(item.payload)]
        return entries

    async def read(self, path: str, *, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Stream a file's bytes, or a range; goes on where it was after a lost connection."""
        while True:
            rest = {"path": path, "offset": offset, "length": length}
            connection = await self._connected()
            try:
                with connection.open(m.FILE_READ, rest, window=WINDOW) as stream:
                    while (item := await stream.next()) is not None:
                        offset += len(item.payload)
                        if length is not None:
                            length -= len(item.payload)
                            if length < 0:
                                raise ProtocolViolation("The guest sent more than was asked for.")
                        yield item.payload
                    return
            except ChannelClosed:
                continue

    async def write(
        self,
        path: str,
        data: AsyncIterable[bytes] | bytes,
        *,
        mode: int | None = None,
        user: str | None = None,
        offset: int | None = None,
    ) -> FileStat:
        """Write a file, replaced atomically, or in place from `offset` on."""
        params = {"path": path, "mode": mode, "user": user, "offset": offset}
        with (await self._connected()).open(m.FILE_WRITE, params) as stream:
            return stat_from_wire(await _upload(stream, data))

    async def stat(self, path: str) -> FileStat:
        """One entry; symbolic links are not followed."""
        return stat_from_wire(await self._call(m.FILE_STAT, {"path": path}))

    async def list(self, path: str) -> Sequence[FileStat]:
        """The entries of a directory, by name."""
        found = await self._entries(m.FILE_LIST, {"path": path}, stat_from_wire)
        return sorted(found, key=lambda stat: stat.path)

    async def mkdir(
        self, path: str, *, parents: bool = True, mode: int = 0o755, user: str | None = None
    ) -> None:
        """Make a directory; with `parents`, those above it, and it may exist already."""
        params = {"path": path, "parents": parents, "mode": mode, "user": user}
        await self._call(m.FILE_MKDIR, params, repeat=parents)

    async def move(self, source: str, target: str) -> None:
        """Rename, replacing `target`."""
        await self._call(m.FILE_MOVE, {"source": source, "target": target}, repeat=False)

    async def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or an empty directory; with `recursive`, all below it."""
        await self._call(m.FILE_REMOVE, {"path": path, "recursive": recursive}, repeat=False)

    async def chmod(self, path: str, mode: int) -> None:
        """Change permission bits."""
        await self._call(m.FILE_CHMOD, {"path": path, "mode": mode})

    @asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[AsyncIterator[FileEvent]]:
        """Changes under `path`; entering waits until the watch is in place."""
        with (await self._connected()).open(m.FILE_WATCH, {"path": path}) as stream:
            # The first event only says that the watch is in place; others may have come with it.
            first = await stream.next()
            if first is None:
                raise ProtocolViolation("The guest ended a watch before it began.")
            async with aclosing(_events(stream, _batch(first.payload)[1:])) as events:
                yield events

    async def archive_out(
        self, path: str, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> AsyncIterator[bytes]:
        """Stream a tar archive of a file or directory."""
        params = {"path": path, "include": [*include], "exclude": [*exclude]}
        with (await self._connected()).open(m.ARCHIVE_OUT, params, window=WINDOW) as stream:
            while (item := await stream.next()) is not None:
                yield item.payload

    async def archive_in(self, path: str, data: AsyncIterable[bytes], *, user: str | None = None) -> None:
        """Unpack a tar stream below `path`."""
        with (await self._connected()).open(m.ARCHIVE_IN, {"path": path, "user": user}) as stream:
            await _upload(stream, data)


async def _upload(stream: Stream, data: AsyncIterable[bytes] | bytes) -> Any:
    """Send all of `data`, then the answer. A refusal in the middle ends the sending."""
    if isinstance(data, bytes):
        await stream.send(data)
    else:
        async for piece in data:
            if stream.finished:
                break
            await stream.send(piece)
    stream.end()
    return await stream.answer()


async def _events(stream: Stream, first: list[Any]) -> AsyncGenerator[FileEvent, None]:
    for value in first:
        yield event_from_wire(value)
    while (item := await stream.next()) is not None:
        if item.kind != f.EVENT:
            raise ProtocolViolation("The guest sent something else than an event.")
        for value in _batch(item.payload):
            yield event_from_wire(value)


def _batch(payload: bytes) -> list[Any]:
    value = decoded(payload)
    if not isinstance(value, list):
        raise ProtocolViolation("The guest sent something else than a list.")
    return value
