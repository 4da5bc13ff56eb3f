"""``aetherium version``."""

from __future__ import annotations

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute

app = typer.Typer(context_settings=HELP, rich_markup_mode="rich", add_completion=False)


@app.command(epilog="Examples:\n\naetherium version\naetherium version --json")
def version(ctx: typer.Context, as_json: Json = False) -> None:
    """Versions of this command and of the platform that serves it."""
    execute(ctx, _version, as_json=as_json, connect=False)


async def _version(command: Command) -> None:
    import platform

    from aetherium import __version__
    from aetherium.client.aio import AsyncClient
    from aetherium.domain.errors import Unavailable

    facts: dict[str, str | None] = {
        "version": __version__,
        "python": platform.python_version(),
        "daemon": None,
        "socket": str(command.settings.socket),
    }
    if command.settings.socket.exists():
        async with AsyncClient.unix(command.settings.socket) as client:
            try:
                facts["daemon"] = str((await client.health())["version"])
            except Unavailable:
                facts["daemon"] = None
    command.output.show(
        facts,
        lambda _: command.output.facts(
            [(name, value or "does not run") for name, value in facts.items()],
        ),
    )
