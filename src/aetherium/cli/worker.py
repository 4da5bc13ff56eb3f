"""``aetherium worker``."""

from __future__ import annotations

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Workers of a cluster: run one on this host.",
)


@app.callback()
def _group() -> None:
    """A group, though it has one command yet."""


@app.command(
    epilog="Example:\n\naetherium --data-dir /srv/worker worker run\n\nSIGTERM drains it: what runs is"
    " finished within `worker_grace_s` seconds, or handed back. See docs/cluster.md."
)
def run(ctx: typer.Context, as_json: Json = False) -> None:
    """Run a worker on this host, in the foreground: it makes VMs and carries tasks out."""

    async def work(command: Command) -> int:
        from aetherium.cli import daemons

        return await daemons.serve(command, "worker", daemons.worker)

    execute(ctx, work, as_json=as_json, connect=False)
