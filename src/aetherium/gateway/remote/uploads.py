"""Bytes to a worker, as fast as it takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

from grpc.aio import AioRpcError

from aetherium.gateway.remote.channels import Link, Request, Response, Writing
from aetherium.rpc.errors import rebuild
from aetherium.rpc.options import PIECE


async def upload(link: Link, method: Writing[Request, Response], parts: AsyncIterator[Request]) -> Response:
    """Send all parts; the answer. A refusal in the middle ends the sending; what `parts` raises ends the call
    without its end, so that the worker does not take it for whole."""
    call = link.upload(method)
    try:
        async for part in parts:
            try:
                await call.write(part)
            except (AioRpcError, asyncio.InvalidStateError):
                break  # it has been answered already
        else:
            await call.done_writing()
        return await call
    except AioRpcError as error:
        raise rebuild(error) from error
    finally:
        call.cancel()


async def in_pieces(data: AsyncIterable[bytes] | bytes) -> AsyncIterator[bytes]:
    """The same bytes, in pieces that fit into messages."""
    if isinstance(data, bytes):
        data = _whole(data)
    async for given in data:
        for at in range(0, len(given), PIECE):
            yield given[at : at + PIECE]


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data
