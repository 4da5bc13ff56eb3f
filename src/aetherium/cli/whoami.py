"""``aetherium whoami``."""

from __future__ import annotations

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute

app = typer.Typer(context_settings=HELP, rich_markup_mode="rich", add_completion=False)


@app.command(epilog="Examples:\n\naetherium whoami\naetherium --url https://aetherium.example whoami")
def whoami(ctx: typer.Context, as_json: Json = False) -> None:
    """Who one is to the platform, in which project, and what one may do."""

    async def work(command: Command) -> None:
        found = await command.client.whoami()
        facts = [
            ("subject", found.subject),
            ("role", "administrator of the installation" if found.installation else str(found.role)),
            ("project", found.project or "all"),
            ("permissions", ", ".join(found.permissions)),
        ]
        command.output.show(found, lambda _: command.output.facts(facts))

    execute(ctx, work, as_json=as_json)
