"""HTTP to the gateway: requests, lines of JSON, bytes both ways. Foreign errors are translated here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from aetherium.client.errors import rebuild
from aetherium.client.gateways import Gateway
from aetherium.client.retries import RetryPolicy, Tries, is_safe
from aetherium.domain.errors import (
    AetheriumError,
    ChannelClosed,
    Conflict,
    NotFound,
    Unavailable,
)

NDJSON = "application/x-ndjson"
# What a proxy answers while the gateway behind it is away.
_AWAY = (502, 503, 504)

Params = Mapping[str, str | int | float | bool | list[str] | None]


def quoted(ref: str) -> str:
    """A reference as one segment of a path."""
    return quote(ref, safe="")


class Transport:
    """One pool of connections to a gateway.

    Args:
        gateway: it, or its Unix socket.
        retry: how requests are made again that may be; None: none is.
    """

    def __init__(self, gateway: Gateway | Path, *, retry: RetryPolicy | None = None) -> None:
        self.gateway = gateway if isinstance(gateway, Gateway) else Gateway(gateway)
        self.retry = retry
        self._http = self.gateway.connect()
        self._translating = self.gateway.translating

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        key: str = "",
        once: bool = False,
    ) -> Any:
        """One request; the answer as JSON types, or None if it has no body, or if an earlier try may have
        deleted what is not there.

        Args:
            key: an Idempotency-Key, with which a POST may be made again.
            once: it is not.
        """
        tries = Tries(None if once else self.retry, safe=is_safe(method, key))
        while True:
            try:
                with self._translating():
                    response = await self._http.request(
                        method, path, params=_clean(params), json=body, headers=_keyed(key)
                    )
                _check(response, response.content)
            except AetheriumError as error:
                if method == "DELETE" and tries.maybe_done and isinstance(error, NotFound):
                    return None
                await tries.pause(error)
            else:
                return response.json() if response.content else None

    async def read(self, path: str, *, params: Params | None = None) -> bytes:
        """A small answer as bytes."""
        return b"".join([piece async for piece in self.download(path, params=params)])

    async def send(
        self,
        path: str,
        data: AsyncIterable[bytes] | bytes,
        *,
        params: Params | None = None,
        method: str = "PUT",
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send bytes, streamed; the answer as JSON types. Bytes at hand are sent again if need be."""
        tries = Tries(self.retry, safe=is_safe(method), replayable=isinstance(data, bytes))
        while True:
            try:
                with self._translating():
                    response = await self._http.request(
                        method, path, params=_clean(params), content=data, headers=dict(headers or {})
                    )
                _check(response, response.content)
            except AetheriumError as error:
                await tries.pause(error)
            else:
                return response.json() if response.content else None

    async def download(self, path: str, *, params: Params | None = None) -> AsyncIterator[bytes]:
        """An answer's bytes, streamed. One that is cut goes on where it was, as far as the gateway can tell
        that it is still the same (RFC 9110, section 13.1.5); otherwise that is a ChannelClosed."""
        tries = Tries(self.retry, safe=True)
        etag, done = "", 0
        while True:
            headers = {"range": f"bytes={done}-", "if-range": etag} if done else {}
            try:
                async with self._stream("GET", path, params=params, headers=headers) as response:
                    if done and response.status_code != httpx2.codes.PARTIAL_CONTENT:
                        raise Conflict("It was changed while it was read.", hint="Read it again.", path=path)
                    etag = response.headers.get("etag", "")
                    async for piece in self._pieces(response):
                        yield piece
                        done += len(piece)
                        tries.renew()
                    return
            except AetheriumError as error:
                if done and not etag:
                    raise
                await tries.pause(error)

    @asynccontextmanager
    async def lines(
        self, method: str, path: str, *, params: Params | None = None, body: Any = None, key: str = ""
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """An answer's lines of JSON. An ``{"error": …}`` among them is raised. Leaving the block early closes
        the connection, which the gateway notices. Once the first line has come, nothing is tried again: see
        `resuming`."""
        headers = {"accept": NDJSON, **_keyed(key)}
        tries = Tries(self.retry, safe=is_safe(method, key))
        async with AsyncExitStack() as stack:
            while True:
                stream = self._stream(method, path, params=params, body=body, headers=headers)
                try:
                    response = await stack.enter_async_context(stream)
                    break
                except AetheriumError as error:
                    await tries.pause(error)
            yield parsed(self._pieces(response))

    @asynccontextmanager
    async def _stream(
        self,
        method: str,
        path: str,
        *,
        params: Params | None,
        headers: Mapping[str, str],
        body: Any = None,
    ) -> AsyncIterator[httpx2.Response]:
        with self._translating():
            async with self._http.stream(
                method, path, params=_clean(params), json=body, headers=headers
            ) as response:
                if response.status_code >= 400:
                    _check(response, await response.aread())
                yield response

    async def _pieces(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        with self._translating():
            async for piece in response.aiter_raw():
                yield piece


def _clean(params: Params | None) -> dict[str, Any]:
    return {key: value for key, value in (params or {}).items() if value is not None}


def _keyed(key: str) -> dict[str, str]:
    return {"idempotency-key": key} if key else {}


def _check(response: httpx2.Response, content: bytes) -> None:
    status = response.status_code
    if status < 400:
        return
    try:
        problem = json.loads(content)
    except ValueError:
        problem = None
    if isinstance(problem, dict):
        raise rebuild(problem, retry_after=response.headers.get("retry-after", ""))
    if status in _AWAY:
        raise Unavailable(f"The gateway cannot be reached: something before it answered with {status}.")
    raise AetheriumError(f"The gateway answered with status {status}.", status=status)


async def parsed(pieces: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The JSON values of NDJSON that comes in pieces. Raises the error of an ``{"error": problem}`` line, and
    ChannelClosed if the last line is not whole."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            value = json.loads(line)
            if isinstance(value.get("error"), dict) and "code" in value["error"]:
                raise rebuild(value["error"])
            yield value
    if rest:
        raise ChannelClosed("The answer ended in the middle of a line.")
