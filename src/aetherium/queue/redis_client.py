"""Connections to Redis, and the one place where its errors become ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from aetherium.domain.errors import InvalidInput, Unavailable

# The longest that a command waits at the server. It has to be well below the next, or waiting for tickets
# looks like a dead server.
BLOCK_S = 4.0
_ANSWER_S = 10.0
_CONNECT_S = 5.0


@asynccontextmanager
async def connected(url: str, connections: int) -> AsyncIterator[Redis]:
    """A client with at most so many connections: whoever needs one more waits. It connects at the first use.

    Raises InvalidInput for a URL that is none.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=_ANSWER_S,
            # With one, redis-py sends by `wait_for`, which in Python 3.11 can swallow a cancellation.
            socket_timeout=None,
            socket_connect_timeout=_CONNECT_S,
            socket_keepalive=True,
            # Who fetches tickets twice since an answer was lost, loses the first ones until their leases end.
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            protocol=2,
        )
    except ValueError as error:
        # Not shown: there may be a password in it.
        raise InvalidInput(
            "The URL of the queue is none that is known.",
            hint="Use redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS.",
            field="url",
        ) from error
    client = Redis.from_pool(pool)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Raises Unavailable for whatever Redis or the network has to say, and for their silence."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            yield
    except (RedisError, OSError) as error:
        raise Unavailable(
            f"The queue cannot be used: {str(error) or 'no answer'}.",
            hint="Is Redis running, and does it take writes?",
        ) from error
