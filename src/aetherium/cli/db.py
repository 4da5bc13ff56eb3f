"""``aetherium db``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli.options import HELP, Common, Json
from aetherium.cli.runtime import Command, execute
from aetherium.domain.errors import Conflict, InvalidInput, Unavailable

if TYPE_CHECKING:
    from rich.console import Console

    from aetherium.interfaces.schema import Schema
    from aetherium.settings import Settings

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="The database's schema: show, upgrade, downgrade, check.",
    epilog="Examples:\n\naetherium db current\naetherium db upgrade",
)


@app.command(epilog="Examples:\n\naetherium db current\naetherium db current --json")
def current(ctx: typer.Context, as_json: Json = False) -> None:
    """The schema that the database has, and the one that this version needs."""

    async def work(command: Command) -> None:
        schema = _schema(command.settings)
        found = await schema.current()
        command.output.show(
            {"database": schema.database, "current": found, "head": schema.head},
            lambda _: command.output.facts(
                [("database", schema.database), ("schema", found or "none"), ("needed", schema.head)]
            ),
        )

    execute(ctx, work, as_json=as_json, connect=False)


@app.command(epilog="Examples:\n\naetherium db history\naetherium db history --json")
def history(ctx: typer.Context, as_json: Json = False) -> None:
    """All revisions of the schema, oldest first, and which of them the database has."""

    async def work(command: Command) -> None:
        found = await _schema(command.settings).history()
        if command.output.as_json:
            command.output.json(
                [{"id": step.id, "text": step.text, "applied": step.applied} for step in found]
            )
            return
        command.output.table(
            ("REVISION", "APPLIED", "WHAT"),
            [(step.id, "yes" if step.applied else "no", step.text) for step in found],
            empty="There are no revisions.",
        )

    execute(ctx, work, as_json=as_json, connect=False)


@app.command(epilog="Examples:\n\naetherium db upgrade\naetherium db upgrade 0002")
def upgrade(
    ctx: typer.Context,
    revision: Annotated[
        str | None, typer.Argument(metavar="REVISION", help="[default: the newest]", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the tables, or bring them up to date. Of PostgreSQL: end the services of an older version first.

    SQLite is brought up to date by whatever command opens it.
    """

    async def work(command: Command) -> None:
        schema = _schema(command.settings)
        with command.output.progress("Upgrading") as update:
            update(f"Upgrading {schema.database}", None)
            done = await schema.upgrade(revision)
        _tell(command, schema, done, revision or schema.head)

    execute(ctx, work, as_json=as_json, connect=False)


@app.command(epilog="Examples:\n\naetherium db downgrade 0001\naetherium db downgrade 0001 --yes")
def downgrade(
    ctx: typer.Context,
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="One of `db history`, or base.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Go back to an older schema, for an older version of Aetherium. End all services first, and make a
    backup: what the older schema has no place for is lost.

    With SQLite, the next command of this version upgrades it again.
    """
    if not yes:
        _ask(revision, as_json=as_json or (ctx.find_root().obj or Common()).as_json)

    async def work(command: Command) -> None:
        await _refuse_while_served(command.settings)
        schema = _schema(command.settings)
        _tell(command, schema, await schema.downgrade(revision), revision)

    execute(ctx, work, as_json=as_json, connect=False)


@app.command(epilog="Examples:\n\naetherium db check\naetherium db check --json")
def check(ctx: typer.Context, as_json: Json = False) -> None:
    """Compare the database with the tables that this version works with. Exit code 1 if they differ."""

    async def work(command: Command) -> int:
        schema = _schema(command.settings)
        found = await schema.check()

        def people(console: Console) -> None:
            for item in found:
                console.print(item.message, soft_wrap=True, markup=False)
            if not found:
                console.print(f"{schema.database} is as it should be.", soft_wrap=True, markup=False)

        differences = [
            {"kind": item.kind, "thing": item.thing, "name": item.name, "message": item.message}
            for item in found
        ]
        command.output.show({"ok": not found, "differences": differences}, people)
        return 1 if found else 0

    execute(ctx, work, as_json=as_json, connect=False)


def _schema(settings: Settings) -> Schema:
    from aetherium.storage.schema import schema_of

    url = settings.database_url
    return schema_of(settings.data_dir / "aetherium.db" if url is None else url.get_secret_value())


def _tell(command: Command, schema: Schema, done: Sequence[str], revision: str) -> None:
    text = f"Done: {', '.join(done)}." if done else "There was nothing to do."
    command.output.show(
        {"database": schema.database, "done": done, "current": None if revision == "base" else revision},
        lambda console: console.print(f"{text} The schema is {revision}.", markup=False),
    )


def _ask(revision: str, *, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise InvalidInput(
            "A downgrade can lose data, and nobody is there to be asked.",
            hint="Add --yes if that is what you want.",
            field="yes",
        )
    question = f"Go back to the schema {revision}? What it has no place for is lost."
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


async def _refuse_while_served(settings: Settings) -> None:
    """`aetherium up` would go on with tables that are no longer there."""
    if settings.database_url is not None or not settings.socket.exists():
        return
    from aetherium.client.aio import AsyncClient

    async with AsyncClient.unix(settings.socket) as client:
        try:
            await client.health()
        except Unavailable:
            return  # a socket that a killed `aetherium up` has left
    raise Conflict("`aetherium up` works with this database.", hint="End it and try again.")
