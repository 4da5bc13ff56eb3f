"""A worker that can be killed: ``python -m tests.contract.queue.process URL PREFIX LEASE_S LANE COUNT``.

It receives so many tickets, prints a line, and holds them for ever.
"""

from __future__ import annotations

import asyncio
import sys

from aetherium.queue.redis import open_redis_queue
from tests.contract.queue.reading import received


async def main(url: str, prefix: str, lease_s: str, lane: str, count: str) -> None:
    """See the module's docstring."""
    async with (
        open_redis_queue(url, prefix=prefix, lease_s=float(lease_s)) as queue,
        queue.consume(lane) as consumer,
    ):
        await received(consumer, int(count))
        print("holding", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
