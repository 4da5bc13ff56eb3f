"""``aetherium dead-letter``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute
from aetherium.domain.errors import InvalidInput

if TYPE_CHECKING:
    from aetherium.client.dead_letters import DeadLetters
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

    async def work(command: Command) -> None:
        letters = command.client.dead_letters
        if refs and _one_by_one(kind, error, group, everything):
            await _each(command, refs, letters.requeue)
        elif await _sure(command, "Requeue", kind, error, group, everything, yes=yes):
            changed = await letters.requeue_all(
                types=kind or (), error_code=error, group=group, all=everything
            )
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

    async def work(command: Command) -> None:
        letters = command.client.dead_letters
        if refs and _one_by_one(kind, error, group, everything):
            await _each(command, refs, letters.discard)
        elif await _sure(command, "Discard", kind, error, group, everything, yes=yes):
            changed = await letters.discard_all(
                types=kind or (), error_code=error, group=group, all=everything
            )
            command.output.show({"changed": changed}, lambda console: console.print(f"{changed} discarded"))

    execute(ctx, work, as_json=as_json)


def _one_by_one(kind: Sequence[str] | None, error: str, group: str, everything: bool) -> bool:
    """Whether nothing but ids was given. Raises InvalidInput for both."""
    if kind or error or group or everything:
        raise InvalidInput("Ids and a choice were given.", hint="Give one of them.", field="task")
    return True


async def _each(command: Command, refs: Sequence[str], change: Callable[[str], Awaitable[Task]]) -> None:
    tasks = [await change(ref) for ref in refs]
    lines = "\n".join(f"{task.id} is {task.state}" for task in tasks)
    command.output.show({"tasks": tasks}, lambda console: console.print(lines))


async def _sure(
    command: Command,
    verb: str,
    kind: Sequence[str] | None,
    error: str,
    group: str,
    everything: bool,
    *,
    yes: bool,
) -> bool:
    """Whether to go on with all that fit; asks how many that are, unless told not to."""
    if bool(kind or error or group) == everything:
        raise InvalidInput(
            "It is not clear which dead letters are meant.",
            hint="Give ids, or --type, --error or --group, or --all alone.",
            field="task",
        )
    if yes:
        return True
    letters: DeadLetters = command.client.dead_letters
    count = len(await letters.list(types=kind or (), error_code=error, group=group))
    return count > 0 and typer.confirm(f"{verb} {count} dead letters?", err=True, abort=True)
