"""``aetherium version``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute

if TYPE_CHECKING:
    from aetherium.settings import Settings

app = typer.Typer(context_settings=HELP, rich_markup_mode="rich", add_completion=False)


@app.command(epilog="Examples:\n\naetherium version\naetherium version --json")
def version(ctx: typer.Context, as_json: Json = False) -> None:
    """Versions of this command and of the platform that serves it."""
    execute(ctx, _version, as_json=as_json, connect=False)


async def _version(command: Command) -> None:
    import platform

    from aetherium import __version__

    settings = command.settings
    facts: dict[str, str | None] = {
        "version": __version__,
        "python": platform.python_version(),
        "daemon": None,
        **({"url": settings.url} if settings.url is not None else {"socket": str(settings.socket)}),
    }
    if settings.url is not None or settings.socket.exists():
        facts["daemon"] = await _daemon(settings)
    command.output.show(
        facts,
        lambda _: command.output.facts(
            [(name, value or "does not run") for name, value in facts.items()],
        ),
    )


async def _daemon(settings: Settings) -> str | None:
    """The version of what answers, if anything does."""
    from aetherium.client.aio import AsyncClient
    from aetherium.domain.errors import Unavailable

    if settings.url is None:
        client = AsyncClient.unix(settings.socket)
    else:
        client = AsyncClient.http(settings.url, api_key="", ca=settings.tls_ca)
    async with client:
        try:
            return str((await client.health())["version"])
        except Unavailable:
            return None
