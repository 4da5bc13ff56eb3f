"""``aetherium doctor`` and ``aetherium doctor vm``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from aetherium.cli.options import HELP, Json, Ref
from aetherium.cli.output import Output
from aetherium.cli.runtime import Command, execute
from aetherium.domain.checks import Check

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    invoke_without_command=True,
    epilog="Examples:\n\naetherium doctor\naetherium doctor --json\naetherium doctor vm box",
)


@app.callback()
def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """What works on this host, what does not, and what to do about it. Exit code 1 if something needed is not
    as it should be."""
    if ctx.invoked_subcommand is not None:
        if as_json:
            root = ctx.find_root()
            root.obj = replace(root.obj, as_json=True)
        return

    async def work(command: Command) -> int:
        return _report(command.output, await command.client.doctor())

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium doctor vm box\naetherium doctor vm vm_06k --json")
def vm(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """Walk the channel to one VM (process, console, transport, handshake, agent); say where it stops."""

    async def work(command: Command) -> int:
        return _report(command.output, list(await command.client.vms.diagnose(ref)))

    execute(ctx, work, as_json=as_json)


def _report(output: Output, checks: Sequence[Check]) -> int:
    bad = [check for check in checks if not check.ok and check.required]
    output.show({"ok": not bad, "checks": list(checks)}, lambda console: _print(console, checks, len(bad)))
    return 1 if bad else 0


def _print(console: Console, checks: Sequence[Check], bad: int) -> None:
    from rich.text import Text

    from aetherium.cli.formats import safe

    group = ""
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        if check.group != group:
            group = check.group
            console.print(Text(f"\n{group.capitalize()}" if group else "", style="bold"))
        mark, style = ("✓", "green") if check.ok else ("✗", "red") if check.required else ("!", "yellow")
        head = Text.assemble(
            (f" {mark} ", style), (f"{check.name:<{width}}  ", "bold" if not check.ok else "")
        )
        console.print(head + Text(safe(check.detail)), soft_wrap=True)
        if check.hint and not check.ok:
            console.print(Text(f"   {'':<{width}}  → {safe(check.hint)}", style="cyan"), soft_wrap=True)
    console.print()
    if bad:
        console.print(Text(f"{bad} of {len(checks)} needed checks failed.", style="bold red"))
    else:
        console.print(Text("All that is needed works.", style="bold green"))
