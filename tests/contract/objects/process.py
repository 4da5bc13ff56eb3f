"""A process at an object store: ``python -m tests.contract.objects.process WORK URL [ENDPOINT]``.

``endless`` puts an object that never ends, and prints a line for each MiB of it. ``stream`` puts 128 MiB and
gets them back, and prints by how many MiB that has raised the most memory that the process ever had.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import AsyncIterator

from aetherium.interfaces.objects import ObjectStore
from aetherium.objects.opening import open_objects
from tests.fixtures.s3 import access

MIB = 1 << 20
KEY = "jobs/job_1/large"


async def pieces(count: int, *, tell: bool = False) -> AsyncIterator[bytes]:
    """As many MiB, each other than the one before."""
    for number in range(count):
        yield bytes([number % 251]) * MIB
        if tell:
            print(number, flush=True)


async def stream(store: ObjectStore) -> None:
    """See the module's docstring."""
    await store.put("warm", pieces(1))
    async for _ in store.get("warm"):
        pass
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await store.put(KEY, pieces(128))
    size = 0
    async for piece in store.get(KEY):
        size += len(piece)
    assert size == 128 * MIB
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, flush=True)


async def main(work: str, url: str, endpoint: str = "") -> None:
    """See the module's docstring."""
    store = open_objects(url, access(endpoint))
    if work == "stream":
        await stream(store)
    else:
        await store.put(KEY, pieces(1 << 30, tell=True))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
