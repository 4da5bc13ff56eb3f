"""A gateway that listens at a TCP port, any that is free, beside its Unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from aetherium.bootstrap import Platform
from aetherium.domain.identity import Role
from aetherium.domain.projects import DEFAULT_PROJECT
from aetherium.gateway import tcp
from aetherium.gateway.server import serve_platform
from tests.fixtures.platform import fake_platform
from tests.fixtures.ports import HOST


@dataclass(frozen=True, slots=True)
class Served:
    """What listens.

    Args:
        http: over TCP, without a key.
        local: over the Unix socket.
    """

    platform: Platform
    url: str
    socket: Path
    http: httpx2.AsyncClient = field(repr=False)
    local: httpx2.AsyncClient = field(repr=False)

    async def key(self, project: str | None = DEFAULT_PROJECT, role: Role = Role.OPERATOR) -> str:
        """A new one; None: of the installation."""
        chosen = Role.ADMIN if project is None else role
        made = await self.platform.keys.create("test", project_id=project, role=chosen, by="local")
        return made.secret

    @property
    def address(self) -> tuple[str, int]:
        """Of the port."""
        return HOST, int(self.url.rpartition(":")[2])


@asynccontextmanager
async def served(data_dir: Path, *, verify: Any = True, **settings: Any) -> AsyncIterator[Served]:
    """Serve a platform on the fake driver."""
    socket = data_dir / "run" / "s"
    async with fake_platform(data_dir, background=False, **settings) as platform:
        with tcp.listening(platform.settings, f"{HOST}:0") as listener:
            assert listener is not None
            unix = httpx2.AsyncHTTPTransport(uds=str(socket))
            async with (
                serve_platform(platform, socket, grace_s=1.0, tcp=listener),
                httpx2.AsyncClient(base_url=listener.url, verify=verify) as http,
                httpx2.AsyncClient(base_url="http://aetherium", transport=unix) as local,
            ):
                yield Served(platform, listener.url, socket, http, local)


def bearer(key: str, **more: str) -> dict[str, str]:
    """The headers that show a key."""
    return {"authorization": f"Bearer {key}", **more}
