"""Listening at a TCP port: which addresses are allowed, and TLS.

Keys go over this, so nobody may read along: loopback only, unless there is TLS, here or in a proxy.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from aetherium.domain.errors import Conflict, InvalidInput
from aetherium.settings import Settings

log = structlog.get_logger(__name__)

_BACKLOG = 512
_NOWHERE = ("", "none")


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that listens.

    Args:
        tls: None: it speaks plainly.
    """

    socket: socket.socket
    tls: ssl.SSLContext | None

    @property
    def url(self) -> str:
        """Where it is reached from this host."""
        host, port = self.socket.getsockname()[:2]
        found = ipaddress.ip_address(host)
        if found.is_unspecified:
            found = ipaddress.ip_address("::1" if found.version == 6 else "127.0.0.1")
        shown = f"[{found}]" if found.version == 6 else str(found)
        return f"{'http' if self.tls is None else 'https'}://{shown}:{port}"


@contextmanager
def listening(settings: Settings, where: str) -> Iterator[Listener | None]:
    """Listen at ``HOST:PORT`` during the block; port 0: any that is free; empty or ``none``: nowhere.

    Raises InvalidInput (address, certificate), Conflict (the port is taken).
    """
    if where in _NOWHERE:
        yield None
        return
    host, port = _parsed(where)
    tls = _context(settings)
    if tls is None and not settings.listen_plain and not _loopback(host):
        raise InvalidInput(
            f"API keys would go over the network in plain text at {where}.",
            hint="Set tls_cert and tls_key (see: aetherium certs --help), or listen_plain = true behind a"
            " proxy that speaks TLS, or listen at 127.0.0.1.",
            field="listen",
        )
    with _bound(host, port, where) as bound:
        yield Listener(bound, tls)


def _parsed(where: str) -> tuple[str, int]:
    host, _, port = where.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 0xFFFF:
        raise InvalidInput(
            f"The setting listen is {where!r}.",
            hint="Write HOST:PORT, for example 127.0.0.1:7777, or none for the Unix socket alone.",
            field="listen",
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def _loopback(host: str) -> bool:
    """Whether all that the name stands for is this host; names are not trusted to stay what they are."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _bound(host: str, port: int, where: str) -> Iterator[socket.socket]:
    name = "127.0.0.1" if host == "localhost" else host
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise InvalidInput(
            f"The setting listen is {where!r}, which is no address here: {error.strerror}.", field="listen"
        ) from error
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise Conflict(
                f"The address {where} cannot be listened at: {error.strerror}.",
                hint="Choose another one with --listen HOST:PORT or the setting listen; none: the Unix socket"
                " alone.",
                listen=where,
            ) from error
        listener.setblocking(False)
        yield listener


def _context(settings: Settings) -> ssl.SSLContext | None:
    """Raises InvalidInput."""
    if settings.tls_cert is None and settings.tls_key is None:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise InvalidInput(
            "The settings for TLS are not complete.",
            hint="Set tls_cert and tls_key.",
            field="tls_key" if settings.tls_cert else "tls_cert",
        )
    return _Certificate(settings.tls_cert, settings.tls_key).context()


class _Certificate:
    """Read again for the first connection after its files have changed."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._stamp = self._look()
        self._current = self._read()

    def context(self) -> ssl.SSLContext:
        """For the server; each handshake takes what is current then."""

        def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            self._refresh()
            connection.context = self._current

        context = self._read()
        context.sni_callback = choose
        return context

    def _refresh(self) -> None:
        try:
            if (stamp := self._look()) == self._stamp:
                return
            self._current, self._stamp = self._read(), stamp
        except InvalidInput as error:
            log.warning("certificate not usable, the one before stays", reason=str(error))

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        try:
            found = [path.stat() for path in self._files]
        except OSError as error:
            raise _unusable(str(error)) from error
        return tuple((facts.st_ino, facts.st_mtime_ns, facts.st_size) for facts in found)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(str(error)) from error
        return context


def _unusable(reason: str) -> InvalidInput:
    return InvalidInput(
        f"The certificate cannot be used: {reason}.",
        hint="Correct tls_cert and tls_key. Certificates: aetherium certs --help",
        field="tls_cert",
    )
