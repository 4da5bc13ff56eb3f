"""``aetherium gateway``."""

from __future__ import annotations

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute

app = typer.Typer(context_settings=HELP, rich_markup_mode="rich", add_completion=False)


@app.command(
    epilog="Example:\n\nAETHERIUM_DATABASE_URL_FILE=db.url AETHERIUM_REDIS_URL=redis://127.0.0.1:6379"
    " aetherium --data-dir /srv/gateway gateway\n\nSee docs/cluster.md."
)
def gateway(ctx: typer.Context, as_json: Json = False) -> None:
    """Run a gateway of a cluster: the API, on a Unix socket. Any of several can be used."""

    async def work(command: Command) -> int:
        from aetherium.cli import daemons

        return await daemons.serve(command, "gateway", daemons.gateway)

    execute(ctx, work, as_json=as_json, connect=False)
