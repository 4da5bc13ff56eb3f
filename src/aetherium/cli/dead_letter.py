"""``aetherium dead-letter``."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli.options import HELP, Common, Json
from aetherium.cli.runtime import Command, execute
from aetherium.domain.errors import InvalidInput

if TYPE_CHECKING:
    from aetherium.domain.tasks import Task

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Tasks that failed for good: look, requeue, discard.",
    epilog="Examples:\n\naetherium dead-letter list\naetherium dead-letter requeue --error worker_lost",
)

Ref = Annotated[str, typer.Argument(metavar="TASK", help="Id, or the begin of one.")]
Refs = Annotated[list[str] | None, typer.Argument(metavar="[TASK...]", help="Ids, or begins of them.")]
Kind = Annotated[list[str] | None, typer.Option("--type", "-t", metavar="TYPE", help="Those of this type.")]
Error = Annotated[str, typer.Option("--error", metavar="CODE", help="Those that failed so.")]
Group = Annotated[str, typer.Option("--group", "-g", metavar="NAME", help="Those of this group.")]
All = Annotated[bool, typer.Option("--all", help="No matter which.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command(
    "list", epilog="Examples:\n\naetherium dead-letter list\naetherium dead-letter list --error worker_lost"
)
def list_(
    ctx: typer.Context,
    kind: Kind = None,
    error: Error = "",
    group: Group = "",
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="The newest N.")] = 50,
    as_json: Json = False,
) -> None:
    """Dead letters, newest first."""

    async def work(command: Command) -> None:
        from aetherium.cli import taskview

        found = await command.client.dead_letters.list(
            types=kind or (), error_code=error, group=group, limit=limit
        )
        if command.output.as_json:
            command.output.json(found)
        else:
            taskview.table(command.output, found, empty="There are no dead letters.")

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Example:\n\naetherium dead-letter show task_06k")
def show(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """One dead letter, with the error of every attempt."""

    async def work(command: Command) -> None:
        from aetherium.cli import taskview

        task = await command.client.dead_letters.get(ref)
        attempts = await command.client.tasks.attempts(task.id)
        command.output.show(
            {"task": task, "attempts": list(attempts)},
            lambda _: command.output.facts(taskview.facts(task, attempts)),
        )

    execute(ctx, work, as_json=as_json)


@app.command(
    epilog="Examples:\n\naetherium dead-letter requeue task_06k\n"
    "aetherium dead-letter requeue --type vm.create --error worker_lost\n"
    "aetherium dead-letter requeue --all --yes"
)
def requeue(
    ctx: typer.Context,
    refs: Refs = None,
    kind: Kind = None,
    error: Error = "",
    group: Group = "",
    everything: All = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Try dead letters anew, with fresh attempts."""
    chosen = _choice(refs, kind, error, group, everything)
    if not (refs or yes):
        _ask(f"Requeue {chosen}?", as_json=as_json or (ctx.find_root().obj or Common()).as_json)

    async def work(command: Command) -> None:
        letters = command.client.dead_letters
        if refs:
            await _each(command, refs, letters.requeue)
            return
        changed = await letters.requeue_all(types=kind or (), error_code=error, group=group, all=everything)
        command.output.show({"changed": changed}, lambda console: console.print(f"{changed} requeued"))

    execute(ctx, work, as_json=as_json)


@app.command(
    epilog="Examples:\n\naetherium dead-letter discard task_06k\n"
    "aetherium dead-letter discard --type system.noop"
)
def discard(
    ctx: typer.Context,
    refs: Refs = None,
    kind: Kind = None,
    error: Error = "",
    group: Group = "",
    everything: All = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put dead letters aside: nothing is done about them any more."""
    chosen = _choice(refs, kind, error, group, everything)
    if not (refs or yes):
        _ask(f"Discard {chosen}?", as_json=as_json or (ctx.find_root().obj or Common()).as_json)

    async def work(command: Command) -> None:
        letters = command.client.dead_letters
        if refs:
            await _each(command, refs, letters.discard)
            return
        changed = await letters.discard_all(types=kind or (), error_code=error, group=group, all=everything)
        command.output.show({"changed": changed}, lambda console: console.print(f"{changed} discarded"))

    execute(ctx, work, as_json=as_json)


def _choice(
    refs: Sequence[str] | None, kind: Sequence[str] | None, error: str, group: str, everything: bool
) -> str:
    """Which are meant, in words. Raises InvalidInput if that is not clear."""
    wanted = (("type", " or ".join(kind or ())), ("error", error), ("group", group))
    filters = [f"{name} {value}" for name, value in wanted if value]
    if [bool(refs), bool(filters), everything].count(True) != 1:
        raise InvalidInput(
            "It is not clear which dead letters are meant.",
            hint="Give ids, or --type, --error or --group, or --all alone.",
            field="task",
        )
    return f"all dead letters of {', '.join(filters)}" if filters else "all dead letters"


def _ask(question: str, *, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise InvalidInput(
            f"{question} Nobody is there to be asked.",
            hint="Add --yes if that is what you want.",
            field="yes",
        )
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


async def _each(command: Command, refs: Sequence[str], change: Callable[[str], Awaitable[Task]]) -> None:
    tasks = [await change(ref) for ref in refs]
    lines = "\n".join(f"{task.id} is {task.state}" for task in tasks)
    command.output.show({"tasks": tasks}, lambda console: console.print(lines))
