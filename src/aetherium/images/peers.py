"""Other workers of the cluster as sources of images: nearer than the object store, and less reliable."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial

from aetherium.domain.errors import Unavailable
from aetherium.domain.workers import PRESENT, Worker
from aetherium.images.blobs import BlobSource, PeerBlobs
from aetherium.interfaces.cluster_store import WorkerRepository

# A peer brings this much within this time, or is given up: 200 KiB/s. What came is kept, so that it costs
# little to go on with the next source.
LEAST = 1 << 20
SLOW_S = 5.0
# Peers that are asked at most: one after the other could be as slow as is allowed.
_ASKED = 3

# Reads ``manifests/HEX`` or ``blobs/HEX`` of a worker, by its id, from a byte on.
AskWorker = Callable[[str, str, int], AsyncGenerator[bytes, None]]


class Peers:
    """`find` is what SharedImageStore asks for.

    Args:
        me: the id of this host's worker.
        slow_s: seconds in which a peer brings `LEAST` bytes.
    """

    def __init__(self, workers: WorkerRepository, ask: AskWorker, me: str, *, slow_s: float = SLOW_S) -> None:
        self._workers = workers
        self._ask = ask
        self._me = me
        self._slow_s = slow_s

    async def find(self, digest: str) -> Sequence[BlobSource]:
        """Workers that say they have the image; none if that cannot be looked up."""
        try:
            workers = await self._workers.list()
        except Unavailable:
            return ()
        found = sorted((each for each in workers if self._has(each, digest)), key=self._order)
        return [PeerBlobs(partial(self._read, each.id)) for each in found[:_ASKED]]

    def _has(self, worker: Worker, digest: str) -> bool:
        info = worker.info
        return bool(
            worker.id != self._me and worker.state in PRESENT and info.address and digest in info.images
        )

    def _order(self, worker: Worker) -> bytes:
        """Another one for each host, so that not all of them ask the same peer."""
        return hashlib.sha256(f"{self._me} {worker.id}".encode()).digest()

    async def _read(self, worker_id: str, name: str, offset: int) -> AsyncGenerator[bytes, None]:
        async with aclosing(_brisk(self._ask(worker_id, name, offset), self._slow_s)) as pieces:
            async for piece in pieces:
                yield piece


async def _brisk(pieces: AsyncGenerator[bytes, None], slow_s: float) -> AsyncGenerator[bytes, None]:
    """The same; Unavailable if they come too slowly. What their reader does with them takes no time of it."""
    clock = asyncio.get_running_loop().time
    left, size = slow_s, 0
    async with aclosing(pieces):
        while True:
            begin = clock()
            try:
                async with asyncio.timeout(left):
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise Unavailable(f"It brought {size} bytes in {slow_s:g} seconds.") from None
            left, size = left - (clock() - begin), size + len(piece)
            if size >= LEAST:
                left, size = slow_s, 0
            yield piece
