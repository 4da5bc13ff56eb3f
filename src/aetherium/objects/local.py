"""Objects as files of a directory, which several hosts may share.

::

    ROOT/
      data/KEY          one file per object; directories that become empty are removed
      staging/X         objects that are being written; see staged.py
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from aetherium.domain.errors import Conflict, InvalidInput, NotFound, Unavailable
from aetherium.interfaces.finishing import finish
from aetherium.interfaces.objects import ObjectInfo, ObjectStore, check_folder, check_key
from aetherium.objects.pieces import PIECE, gathered
from aetherium.objects.staged import Staged, sweep

P = ParamSpec("P")
T = TypeVar("T")
_NO_PLACE = (FileExistsError, IsADirectoryError, NotADirectoryError)


class LocalObjects:
    """See interfaces/objects.py, ObjectStore.

    Args:
        root: made when something is put into it.
    """

    def __init__(self, root: Path) -> None:
        self._data = root / "data"
        self.staging = root / "staging"

    def __repr__(self) -> str:
        return f"LocalObjects({str(self._data.parent)!r})"

    async def put(self, key: str, data: AsyncIterable[bytes] | bytes) -> int:
        target = self._path(key)
        staged, size = Staged(self.staging), 0
        try:
            await _blocking(key, staged.open)
            async with aclosing(gathered(data)) as pieces:
                async for piece in pieces:
                    size += len(piece)
                    await _blocking(key, staged.write, piece)
            await _blocking(key, _publish, staged, key, target)
        finally:
            await _blocking(key, staged.discard)
        return size

    async def get(
        self, key: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        path = self._path(key)
        left = (1 << 62) if length is None else length
        with ExitStack() as stack:
            file = await _blocking(key, lambda: stack.enter_context(path.open("rb", buffering=0)))
            await _blocking(key, file.seek, offset)
            while left > 0:
                piece = await _blocking(key, file.read, min(left, PIECE))
                if not piece:
                    return
                left -= len(piece)
                yield piece

    async def stat(self, key: str) -> ObjectInfo:
        path = self._path(key)
        return await _blocking(key, _info, key, path)

    async def list(self, folder: str) -> Sequence[ObjectInfo]:
        folder = check_folder(folder)
        found = await _blocking(folder, lambda: [*self._below(folder)])
        return sorted(found, key=lambda info: info.key.encode())

    async def remove(self, key: str) -> None:
        await _blocking(key, self._remove, check_key(key))

    async def remove_all(self, folder: str) -> int:
        if not folder:
            raise InvalidInput("Which objects are to be removed is not said.", field="folder")
        folder = check_folder(folder)

        def work() -> int:
            found = [*self._below(folder)]
            for info in found:
                self._remove(info.key)
            return len(found)

        return await _blocking(folder, work)

    async def sweep(self) -> int:
        return await _blocking("", sweep, self.staging)

    def _path(self, key: str) -> Path:
        return self._data / check_key(key)

    # Below: called in a thread.

    def _below(self, folder: str) -> Iterator[ObjectInfo]:
        for directory, _, names in os.walk(self._data / folder, onerror=_unless_gone):
            for name in names:
                path = Path(directory, name)
                with suppress(FileNotFoundError, NotFound):  # removed meanwhile
                    yield _info(str(path.relative_to(self._data)), path)

    def _remove(self, key: str) -> None:
        path = self._data / key
        with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
            path.unlink()
        for parent in path.parents[: len(Path(key).parents) - 1]:
            try:
                parent.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return  # others are in it


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _info(key: str, path: Path) -> ObjectInfo:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise NotFound("object", key)
    return ObjectInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


def _publish(staged: Staged, key: str, target: Path) -> None:
    try:
        staged.publish(target)
    except _NO_PLACE as error:
        raise Conflict(f"There is an object above or below the key {key!r}.", key=key) from error


async def _blocking(key: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    # `finish`: nobody may close a file while a thread is at it.
    with _translated(key):
        return await finish(asyncio.to_thread(work, *args, **kwargs))


@contextmanager
def _translated(key: str) -> Iterator[None]:
    """The one place where the system's errors become ours."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NotFound("object", key) from error
    except OSError as error:
        raise Unavailable(
            f"The object store cannot be used: {error.strerror}.",
            hint="Is its disk full, or not there?",
            errno=errno.errorcode.get(error.errno or 0, ""),
        ) from error


_: type[ObjectStore] = LocalObjects
