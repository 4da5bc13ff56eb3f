"""uvicorn's HTTP protocol with bounds that it has not: how large a request's head may be, and how long it may
take to come."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aetherium.gateway.connections import CuttableHTTP

# Tokens have some kilobytes; browsers and proxies stop at about as much.
LARGEST_HEAD = 64 * 1024
# From the connection, or the first byte of a further request, until the head is there.
HEAD_S = 30.0


class BoundedHTTP(CuttableHTTP):
    """For ``uvicorn.Config(http=…)``."""

    _head = 0
    # Bytes in a row that led to nothing: the parser keeps a header until it is whole.
    _stuck = 0
    _moved = False
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._moved = False
        super().data_received(data)
        self._stuck = 0 if self._moved else self._stuck + len(data)
        if self._stuck > LARGEST_HEAD and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._moved = True
        self._head = 0
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self.transport.abort)

    def on_url(self, url: bytes) -> None:
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._moved = True
        self._disarm()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._moved = True
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """The parser has ended."""
        if self._head > LARGEST_HEAD:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _count(self, *parts: bytes) -> None:
        self._head += sum(map(len, parts))
        if self._head > LARGEST_HEAD:
            raise ValueError("The head of the request is too large.")  # ends the parser

    def _refuse(self) -> None:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        head = f"HTTP/1.1 {status} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(head.encode())
        self.transport.close()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
