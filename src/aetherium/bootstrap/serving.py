"""A platform on one host behind its HTTP API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aetherium.bootstrap.parts import Parts
from aetherium.bootstrap.platform import Platform, open_platform
from aetherium.domain.identity import Role
from aetherium.settings import Settings

if TYPE_CHECKING:
    from aetherium.gateway.access import Services

DEFAULT_LISTEN = "127.0.0.1:7777"


@dataclass(frozen=True, slots=True)
class Opened:
    """A gateway that listens.

    Args:
        socket: at this Unix socket.
        url: and here; empty: nowhere else.
        first_key: a key of the installation's administrators, if there was none and there is a `url`.
    """

    socket: Path
    url: str = ""
    first_key: str = field(default="", repr=False)


@asynccontextmanager
async def open_gateway(
    settings: Settings, *, background: bool, adapters: Parts | None = None
) -> AsyncIterator[Opened]:
    """Serve a platform during the block.

    With `background` at the socket of the settings, which only one process at a time has (Conflict), and at
    the port of the settings; else at a private socket, for the command that runs in this process.
    """
    # Late: who needs the services only does not pay for the web framework.
    from aetherium.gateway import tcp
    from aetherium.gateway.server import place, serve_platform

    listen = DEFAULT_LISTEN if settings.listen is None else settings.listen
    with (
        place(settings.sockets, settings.socket if background else None) as socket,
        tcp.listening(settings, listen if background else "") as listener,
    ):
        async with (
            open_platform(settings, background=background, adapters=adapters) as platform,
            serve_platform(platform, socket, grace_s=5.0 if background else 1.0, tcp=listener),
            grpc(platform) if background else nullcontext(),
        ):
            if listener is None:
                yield Opened(socket)
            else:
                yield Opened(socket, listener.url, await _first_key(platform))


async def _first_key(platform: Platform) -> str:
    """Empty: there was one before."""
    if await platform.store.api_keys.installation_has_one():
        return ""
    made = await platform.keys.create("first", project_id=None, role=Role.ADMIN, by="system")
    return made.secret


@asynccontextmanager
async def grpc(services: Services) -> AsyncIterator[None]:
    """Serve gRPC during the block, if the settings say where."""
    if not services.settings.grpc_listen:
        yield
        return
    # Late: it takes a quarter of a second to load.
    from aetherium.gateway.grpc.server import serve_configured

    async with serve_configured(services):
        yield
