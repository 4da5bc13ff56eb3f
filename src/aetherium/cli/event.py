"""``aetherium event``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute

if TYPE_CHECKING:
    from aetherium.domain.events import Event

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="What happened, and what happens.",
    epilog="Examples:\n\naetherium event list --type 'task.*'\naetherium event follow",
)

Kind = Annotated[
    list[str] | None,
    typer.Option("--type", "-t", metavar="TYPE", help="Only these; 'task.*': all that begin so."),
]
After = Annotated[int | None, typer.Option("--after", metavar="SEQ", min=0, help="Only after this number.")]


@app.command(
    "list",
    epilog="Examples:\n\naetherium event list\naetherium event list --type 'worker.*' --limit 10 --json",
)
def list_(
    ctx: typer.Context,
    kind: Kind = None,
    after: After = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-n", metavar="N", min=1, max=10000, help="The newest N, or the first N after SEQ."
        ),
    ] = 50,
    as_json: Json = False,
) -> None:
    """Events, by number."""

    async def work(command: Command) -> None:
        found: list[Event] = []
        async with command.client.events.stream(
            after=after or 0, latest=limit if after is None else None, types=kind or (), follow=False
        ) as events:
            async for event in events:
                found.append(event)
                if len(found) == limit:
                    break
        if command.output.as_json:
            command.output.json(found)
            return
        command.output.table(
            ("SEQ", "TIME", "TYPE", "SUBJECT", "DATA"),
            [_row(event) for event in found],
            empty="There are no such events.",
        )

    execute(ctx, work, as_json=as_json)


def _row(event: Event) -> tuple[str, ...]:
    from aetherium.cli.formats import moment, pairs, safe

    data = safe(pairs({key: str(value) for key, value in event.data.items() if value not in (None, "")}))
    return (str(event.seq), moment(event.at), event.type, event.subject, data)


@app.command(
    epilog="Examples:\n\naetherium event follow\naetherium event follow --type 'task.*' --json\n"
    "aetherium event follow --after 1200"
)
def follow(ctx: typer.Context, kind: Kind = None, after: After = None, as_json: Json = False) -> None:
    """What happens from now on, or after a number, until Ctrl-C; as JSON, one event per line."""

    async def work(command: Command) -> None:
        async with command.client.events.stream(
            after=after or 0, latest=0 if after is None else None, types=kind or ()
        ) as events:
            async for event in events:
                if command.output.as_json:
                    command.output.line(event)
                else:
                    command.output.out.print("  ".join(_row(event)), markup=False, soft_wrap=True)

    execute(ctx, work, as_json=as_json)
