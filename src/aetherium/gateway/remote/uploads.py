"""Bytes to a worker, as fast as it takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import cast

from grpc.aio import EOF, AioRpcError, StreamStreamCall  # type: ignore[attr-defined]  # no EOF in the stubs

from aetherium.gateway.remote.channels import Link, Request, Response, Writing
from aetherium.rpc.errors import Cut, rebuild
from aetherium.rpc.options import PIECE


async def upload(link: Link, method: Writing[Request, Response], parts: AsyncIterator[Request]) -> Response:
    """Send all parts; the answer, which may come before. What `parts` raises ends the call without its end,
    so that the worker does not take it for whole."""
    call = link.upload(method)
    sender = asyncio.ensure_future(_send(call, parts))
    answer = asyncio.ensure_future(_answer(call))
    try:
        await asyncio.wait({sender, answer}, return_when=asyncio.FIRST_COMPLETED)
        if sender.done():
            sender.result()
        return await answer
    finally:
        for task in (sender, answer):
            task.cancel()
        await asyncio.wait({sender, answer})
        call.cancel()


async def _send(call: StreamStreamCall[Request, Response], parts: AsyncIterator[Request]) -> None:
    async for part in parts:
        try:
            await call.write(part)
        except (AioRpcError, asyncio.InvalidStateError):
            return  # it is answered or cut, which shows in the answer
    await call.done_writing()


async def _answer(call: StreamStreamCall[Request, Response]) -> Response:
    try:
        response = await call.read()
    except AioRpcError as error:
        raise rebuild(error) from error
    if response is EOF:
        raise Cut("the answer is missing")
    return cast(Response, response)


async def in_pieces(data: AsyncIterable[bytes] | bytes) -> AsyncIterator[bytes]:
    """The same bytes, in pieces that fit into messages."""
    if isinstance(data, bytes):
        data = _whole(data)
    async for given in data:
        for at in range(0, len(given), PIECE):
            yield given[at : at + PIECE]


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data
