"""``aetherium snapshot``."""

from __future__ import annotations

from typing import Annotated

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Snapshots of VMs: list, remove.",
    epilog="Make one: aetherium vm snapshot box --name ready\nUse one: aetherium vm create --snapshot ready",
)


@app.command("list", epilog="Examples:\n\naetherium snapshot list\naetherium snapshot list --json")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """All snapshots, newest first."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import age, digest, size

        found = await command.client.snapshots.list()
        if command.output.as_json:
            command.output.json(found)
            return
        command.output.table(
            ("ID", "NAME", "STATE", "VM", "IMAGE", "SIZE", "AGE"),
            [
                (
                    item.id,
                    item.name or "",
                    item.state.value,
                    item.vm_id,
                    digest(item.image_digest),
                    size(item.size_bytes),
                    age(item.created_at),
                )
                for item in found
            ],
            empty="There are no snapshots. Make one: aetherium vm snapshot VM --name ready",
        )

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium snapshot rm ready\naetherium snapshot rm snap_06k snap_07m")
def rm(
    ctx: typer.Context,
    refs: Annotated[list[str], typer.Argument(metavar="SNAPSHOT...", help="Ids, names, begins of ids.")],
    as_json: Json = False,
) -> None:
    """Remove snapshots. VMs made from them go on."""

    async def work(command: Command) -> None:
        for ref in refs:
            await command.client.snapshots.delete(ref)
        command.output.show({"removed": refs}, lambda console: console.print("\n".join(refs)))

    execute(ctx, work, as_json=as_json)
