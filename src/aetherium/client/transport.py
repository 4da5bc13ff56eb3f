"""HTTP to the gateway: requests, lines of JSON, bytes both ways. Foreign errors are translated here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2

from aetherium.client.errors import rebuild
from aetherium.domain.errors import AetheriumError, ChannelClosed, ProtocolViolation, Unavailable

NDJSON = "application/x-ndjson"
# Long calls wait for as long as they take: the gateway bounds them.
_TIMEOUT = httpx2.Timeout(None, connect=10.0)

Params = Mapping[str, str | int | float | bool | list[str] | None]


class Transport:
    """One pool of connections to a gateway's Unix socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._http = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(
                uds=str(socket), limits=httpx2.Limits(max_connections=None, max_keepalive_connections=32)
            ),
            base_url="http://aetherium",
            timeout=_TIMEOUT,
        )

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
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """One request; the answer as JSON types, or None if it has no body."""
        with self._translating():
            response = await self._http.request(
                method, path, params=_clean(params), json=body, headers=dict(headers or {})
            )
        _check(response.status_code, response.content)
        return response.json() if response.content else None

    async def read(self, path: str, *, params: Params | None = None) -> bytes:
        """A small answer as bytes."""
        with self._translating():
            response = await self._http.get(path, params=_clean(params))
        _check(response.status_code, response.content)
        return response.content

    async def send(
        self, path: str, data: AsyncIterable[bytes] | bytes, *, params: Params | None = None
    ) -> Any:
        """PUT bytes, streamed; the answer as JSON types."""
        with self._translating():
            response = await self._http.put(path, params=_clean(params), content=data)
        _check(response.status_code, response.content)
        return response.json() if response.content else None

    async def download(self, path: str, *, params: Params | None = None) -> AsyncIterator[bytes]:
        """An answer's bytes, streamed. Raises ChannelClosed if they end too early."""
        with self._translating():
            async with self._http.stream("GET", path, params=_clean(params)) as response:
                if response.status_code >= 400:
                    _check(response.status_code, await response.aread())
                async for piece in response.aiter_raw():
                    yield piece

    @asynccontextmanager
    async def lines(
        self, method: str, path: str, *, params: Params | None = None, body: Any = None
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """An answer's lines of JSON. An ``{"error": …}`` among them is raised. Leaving the block early closes
        the connection, which the gateway notices."""
        with self._translating():
            async with self._http.stream(
                method, path, params=_clean(params), json=body, headers={"accept": NDJSON}
            ) as response:
                if response.status_code >= 400:
                    _check(response.status_code, await response.aread())
                yield parsed(response.aiter_raw())

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except httpx2.ConnectError as error:
            raise Unavailable(
                f"Nothing listens at {self.socket}.", hint="Start it with `aetherium up`."
            ) from error
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError) as error:
            raise ChannelClosed(
                f"The connection to {self.socket} was cut.", hint="Does `aetherium up` still run?"
            ) from error
        except httpx2.TimeoutException as error:
            raise Unavailable(f"{self.socket} does not answer in time.") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ProtocolViolation(f"The request to {self.socket} failed: {error}.") from error


def _clean(params: Params | None) -> dict[str, Any]:
    return {key: value for key, value in (params or {}).items() if value is not None}


def _check(status: int, content: bytes) -> None:
    if status < 400:
        return
    try:
        problem = json.loads(content)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        raise AetheriumError(f"The gateway answered with status {status}.", status=status)
    raise rebuild(problem)


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
