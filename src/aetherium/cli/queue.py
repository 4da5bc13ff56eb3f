"""``aetherium queue``."""

from __future__ import annotations

from typing import Annotated

import typer

from aetherium.cli import taskspec
from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute
from aetherium.domain.errors import InvalidInput

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="What waits, by priority: pause, resume, limit types.",
    epilog="Examples:\n\naetherium queue list\naetherium queue limit vm.create --concurrency 10",
)

Name = Annotated[str, typer.Argument(metavar="PRIORITY", help="critical, high, default or low.")]


@app.command("list", epilog="Examples:\n\naetherium queue list\naetherium queue list --json")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """All queues, the most urgent first."""

    async def work(command: Command) -> None:
        found = await command.client.queues.list()
        if command.output.as_json:
            command.output.json(found)
            return
        command.output.table(
            ("PRIORITY", "STATE", "QUEUED", "RUNNING", "SCHEDULED", "BLOCKED"),
            [
                (
                    queue.priority.value,
                    "paused" if queue.paused else "active",
                    *(str(count) for count in (queue.queued, queue.running, queue.scheduled, queue.blocked)),
                )
                for queue in found
            ],
            empty="There are no queues.",
        )

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Example:\n\naetherium queue pause low")
def pause(ctx: typer.Context, name: Name, as_json: Json = False) -> None:
    """Give none of its tasks to a worker any more; what runs goes on."""

    async def work(command: Command) -> None:
        queue = await command.client.queues.pause(taskspec.priority(name))
        command.output.show(queue, lambda console: console.print(f"{queue.priority} is paused"))

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Example:\n\naetherium queue resume low")
def resume(ctx: typer.Context, name: Name, as_json: Json = False) -> None:
    """Let it go on."""

    async def work(command: Command) -> None:
        queue = await command.client.queues.resume(taskspec.priority(name))
        command.output.show(queue, lambda console: console.print(f"{queue.priority} is active"))

    execute(ctx, work, as_json=as_json)


@app.command(
    epilog="Examples:\n\naetherium queue limit\naetherium queue limit vm.create --concurrency 10\n"
    "aetherium queue limit webhook.deliver --rate 5 --burst 20\naetherium queue limit vm.create --clear"
)
def limit(
    ctx: typer.Context,
    kind: Annotated[str | None, typer.Argument(metavar="[TYPE]", help="None: show all limits.")] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", help="So many may begin each second, on average.")
    ] = None,
    burst: Annotated[int, typer.Option("--burst", metavar="N", help="So many at once after a pause.")] = 1,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", metavar="N", help="So many may run at once.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Take the limit away.")] = False,
    as_json: Json = False,
) -> None:
    """Show the limits of task types, or set one."""

    async def work(command: Command) -> None:
        from aetherium.domain.tasks import TypeLimit

        queues = command.client.queues
        if kind is not None:
            if clear == (rate is not None or concurrency is not None):
                raise InvalidInput(
                    "What the limit is to be is not clear.",
                    hint="Give --rate or --concurrency, or --clear.",
                    field="limit",
                )
            if clear:
                await queues.unlimit(kind)
            else:
                await queues.limit(kind, TypeLimit(rate, burst, concurrency))
        await _show(command)

    execute(ctx, work, as_json=as_json)


async def _show(command: Command) -> None:
    found = await command.client.queues.limits()
    if command.output.as_json:
        command.output.json(dict(found))
        return
    command.output.table(
        ("TYPE", "RATE", "BURST", "CONCURRENCY"),
        [
            (
                name,
                "" if limit.per_second is None else f"{limit.per_second:g}/s",
                "" if limit.per_second is None else str(limit.burst),
                str(limit.concurrency or ""),
            )
            for name, limit in found.items()
        ],
        empty="No task type has a limit.",
    )
