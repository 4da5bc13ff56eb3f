"""Where a gRPC server listens, and that nothing goes over a network in the clear."""

from __future__ import annotations

import ipaddress

from grpc import aio

from aetherium.domain.errors import InvalidInput, Unavailable
from aetherium.rpc.tls import Identity

UNIX = "unix:"


def listen(server: aio.Server, address: str, identity: Identity | None, *, mutual: bool, setting: str) -> str:
    """Let a server listen; the address that was bound.

    Args:
        address: ``unix:<path>`` in a directory of mode 0700, or ``<host>:<port>``, where port 0 takes a free
            one.
        identity: None: without TLS, which goes no further than this host. A Unix socket is always without.
        mutual: callers have to show a certificate too.
        setting: which setting the address is from.

    Raises InvalidInput (the address), Unavailable (it is taken).
    """
    secure = identity is not None and not address.startswith(UNIX)
    if not secure and not is_local(address):
        raise InvalidInput(
            f"{setting} is {address!r}: other hosts reach it, and nothing would be encrypted.",
            hint="Set tls_cert and tls_key (aetherium certs makes them), or use unix:<path> or"
            " 127.0.0.1:<port>.",
            field=setting,
        )
    try:
        if identity is not None and secure:
            port = server.add_secure_port(address, identity.for_server(mutual=mutual))
        else:
            port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise Unavailable(
            f"It is not possible to listen at {address}: {error}.",
            hint="Does another process listen there? Choose another address, or port 0.",
        ) from error
    return address if address.startswith(UNIX) else f"{address.rpartition(':')[0]}:{port}"


def is_local(address: str) -> bool:
    """Whether only this host reaches it."""
    if address.startswith(UNIX):
        return True
    host, colon, _ = address.rpartition(":")
    try:
        return bool(colon) and ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
