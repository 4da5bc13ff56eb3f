"""Objects in a bucket of S3, or of what speaks its protocol (MinIO, Ceph, Garage …), through obstore.

Large objects go as multipart uploads. One that fails or is cancelled is aborted. What a killed process leaves
is invisible, and goes by the bucket's life cycle (``AbortIncompleteMultipartUpload``; MinIO needs no rule).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store
from pydantic import SecretStr

from aetherium.domain.errors import InvalidInput, NotFound, Unavailable
from aetherium.interfaces.finishing import race
from aetherium.interfaces.objects import ObjectInfo, ObjectStore, check_folder, check_key
from aetherium.objects.pieces import PIECE, gathered

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Config

# S3 takes 10,000 parts: 80 GiB. This much, and as many times as parts are on their way at once, is in memory.
PART = 8 << 20
_PARTS_AT_ONCE = 2
_LISTED_AT_ONCE = 1000
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3} [A-Za-z ]+)")


@dataclass(frozen=True, slots=True)
class S3Access:
    """How to get at a bucket.

    Args:
        endpoint: URL of the service; empty: AWS.
        region: of the bucket.
        access_key_id, secret_access_key: None: what AWS's own variables and roles give.
        patience_s: how long a request is tried again before the service counts as down.
    """

    endpoint: str = ""
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    patience_s: float = 20.0


class S3Objects:
    """See interfaces/objects.py, ObjectStore.

    Args:
        bucket: has to exist.
        prefix: keys of the bucket begin with it and a slash; empty: no prefix.
    """

    def __init__(self, bucket: str, prefix: str, access: S3Access) -> None:
        self._name = f"s3://{bucket}/{prefix}"
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            config=_config(access),
            # No limit for a whole request: whoever reads an object may take their time.
            client_options={
                "allow_http": access.endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=5),
                "read_timeout": timedelta(seconds=30),
                "timeout": timedelta(days=365),
            },
            retry_config={"max_retries": 10, "retry_timeout": timedelta(seconds=access.patience_s)},
        )

    def __repr__(self) -> str:
        return f"S3Objects({self._name!r})"

    async def put(self, key: str, data: AsyncIterable[bytes] | bytes) -> int:
        check_key(key)
        async with aclosing(gathered(data, PART)) as pieces:
            first = await anext(pieces, b"")
            if len(first) < PART:  # all of it: one request
                with self._translated(key, writing=True):
                    await obstore.put_async(self._store, key, first, use_multipart=False)
                return len(first)
            return await self._upload(key, _Feed(first, pieces))

    async def get(
        self, key: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        check_key(key)
        options: Mapping[str, Any] = {}
        if offset or length is not None:
            size = (await self.stat(key)).size_bytes
            end = size if length is None else min(size, offset + length)
            if offset >= end:  # S3 calls it an error to ask for no bytes
                return
            options = {"range": (offset, end)}
        with self._translated(key):
            found = await obstore.get_async(self._store, key, options=options)  # type: ignore[arg-type]  # a TypedDict
            stream = aiter(found.stream(min_chunk_size=PIECE))
        while True:
            with self._translated(key):
                piece = await anext(stream, None)
            if piece is None:
                return
            yield bytes(piece)

    async def stat(self, key: str) -> ObjectInfo:
        check_key(key)
        with self._translated(key):
            return _info(await obstore.head_async(self._store, key))

    async def list(self, folder: str) -> Sequence[ObjectInfo]:
        folder = check_folder(folder)
        found: list[ObjectInfo] = []
        with self._translated(folder):
            async for listed in obstore.list(self._store, folder or None, chunk_size=_LISTED_AT_ONCE):
                found += map(_info, listed)
        return sorted(found, key=lambda info: info.key.encode())

    async def remove(self, key: str) -> None:
        await self._remove(check_key(key), [key])

    async def remove_all(self, folder: str) -> int:
        if not folder:
            raise InvalidInput("Which objects are to be removed is not said.", field="folder")
        keys = [info.key for info in await self.list(folder)]
        await self._remove(folder, keys)
        return len(keys)

    async def sweep(self) -> int:
        return 0  # see the module's docstring

    async def _remove(self, what: str, keys: Sequence[str]) -> None:
        with self._translated(what, writing=True):
            await obstore.delete_async(self._store, keys)

    async def _upload(self, key: str, feed: _Feed) -> int:
        """In parts. A cancellation reaches obstore as an error of the data, or it would not abort."""
        upload = asyncio.ensure_future(
            obstore.put_async(
                self._store, key, feed, use_multipart=True, chunk_size=PART, max_concurrency=_PARTS_AT_ONCE
            )
        )
        try:
            with self._translated(key, writing=True):
                await asyncio.shield(upload)
        except asyncio.CancelledError:
            feed.stop()
            await asyncio.gather(upload, return_exceptions=True)
            raise
        except Unavailable:
            if feed.failure is not None:
                raise feed.failure from None
            raise
        return feed.size

    @contextmanager
    def _translated(self, key: str, *, writing: bool = False) -> Iterator[None]:
        """The one place where obstore's errors become ours."""
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            if isinstance(error, FileNotFoundError) and not writing and "NoSuchBucket" not in str(error):
                raise NotFound("object", key) from error
            raise Unavailable(
                f"The object store {self._name} cannot be used: {_reason(error)}.",
                hint="Check that it is up, the bucket's name and the keys.",
            ) from error


class _Feed:
    """The pieces of an upload, as obstore asks for them. `failure` is what the data has raised."""

    def __init__(self, first: bytes, rest: AsyncIterator[bytes]) -> None:
        self._first = first
        self._rest = rest
        self._stopped = asyncio.Event()
        self.size = 0
        self.failure: Exception | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.size:
            piece = self._first
        else:
            try:
                piece = await race(anext(self._rest, b""), self._stop())
            except Exception as error:
                self.failure = error
                raise
        if not piece:
            raise StopAsyncIteration
        self.size += len(piece)
        return piece

    def stop(self) -> None:
        """Let obstore's next question, or the present one, fail."""
        self._stopped.set()

    async def _stop(self) -> NoReturn:
        await self._stopped.wait()
        raise InterruptedError("the upload was cancelled")


def _config(access: S3Access) -> S3Config:
    config: S3Config = {"region": access.region}
    if access.endpoint:
        config["endpoint"] = access.endpoint
    if access.access_key_id is not None and access.secret_access_key is not None:
        config["access_key_id"] = access.access_key_id
        config["secret_access_key"] = access.secret_access_key.get_secret_value()
    return config


def _info(found: ObjectMeta) -> ObjectInfo:
    return ObjectInfo(found["path"], found["size"], found["last_modified"])


def _reason(error: Exception) -> str:
    """The service's own word for it, or the first line: the rest repeats the request and its signature."""
    text = str(error)
    for pattern in (_CODE, _STATUS):
        if match := pattern.search(text):
            return match[1].strip()
    return text.partition("\n")[0].removeprefix("Generic S3 error: ")[:300].rstrip(".: ")


_: type[ObjectStore] = S3Objects
