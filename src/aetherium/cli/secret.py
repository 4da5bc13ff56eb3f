"""``aetherium secret``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli.options import HELP, Json, secret_from_file
from aetherium.cli.runtime import Command, execute
from aetherium.domain.errors import InvalidInput
from aetherium.domain.secrets import LARGEST, SecretScope, check_name, check_value

if TYPE_CHECKING:
    from aetherium.domain.secrets import Secret

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Secrets that executions and jobs ask for by name: set, list, show, remove, rotate keys.",
    epilog="Examples:\n\naetherium secret set TOKEN --from-file token.txt\naetherium secret list\n"
    "aetherium secret rotate-key",
)

_LINE_BREAK = "\r\n"

Name = Annotated[str, typer.Argument(metavar="NAME", help="Capitals, digits, underscores.")]
Scope = Annotated[
    SecretScope, typer.Option("--scope", help="In which executions of the project it may be used.")
]
Target = Annotated[
    str, typer.Option("--target", metavar="NAME", help="The image's tag or digest, or the job's name.")
]


@app.command(
    "set",
    epilog="Examples:\n\naetherium secret set TOKEN\naetherium secret set TOKEN --from-file token.txt\n"
    "pass show token | aetherium secret set TOKEN --scope job --target nightly",
)
def set_(
    ctx: typer.Context,
    name: Name,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", metavar="FILE", help="Take the value from a file.")
    ] = None,
    scope: Scope = SecretScope.PROJECT,
    target: Target = "",
    as_json: Json = False,
) -> None:
    """Make a secret, or rotate it: the new value gets the next version.

    The value comes from a file, from stdin, or is asked for; never from the command line, which every process
    of the host can read. Line breaks at its end are dropped.
    """

    check_name(name)
    value = _value(name, from_file)  # asked for before there is a loop, which a prompt would block

    async def work(command: Command) -> None:
        made = await command.client.secrets.set(name, value, scope=scope, target=target)
        command.output.show(made, lambda console: console.print(f"{made.ref}, version {made.version}"))

    execute(ctx, work, as_json=as_json)


@app.command("list", epilog="Examples:\n\naetherium secret list\naetherium secret list --json")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """All secrets of the project; names and what else is known, no values."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import age

        found = await command.client.secrets.list()
        if command.output.as_json:
            command.output.json(found)
            return
        command.output.table(
            ("NAME", "SCOPE", "TARGET", "VERSION", "CHANGED", "USED"),
            [
                (item.name, item.scope, item.target, str(item.version), age(item.updated_at), _used(item))
                for item in found
            ],
            empty="There are no secrets. Set one: aetherium secret set NAME",
        )

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Example:\n\naetherium secret show TOKEN --scope image --target base")
def show(
    ctx: typer.Context,
    name: Name,
    scope: Scope = SecretScope.PROJECT,
    target: Target = "",
    as_json: Json = False,
) -> None:
    """What is known of a secret; not its value."""

    async def work(command: Command) -> None:
        found = await command.client.secrets.get(name, scope=scope, target=target)
        command.output.show(found, lambda _: command.output.facts(_facts(found)))

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Example:\n\naetherium secret rm TOKEN")
def rm(
    ctx: typer.Context,
    name: Name,
    scope: Scope = SecretScope.PROJECT,
    target: Target = "",
    as_json: Json = False,
) -> None:
    """Remove a secret with all its versions; executions that were given it keep it."""

    async def work(command: Command) -> None:
        await command.client.secrets.delete(name, scope=scope, target=target)

    execute(ctx, work, as_json=as_json)


@app.command(
    "rotate-key",
    epilog="Examples:\n\naetherium secret rotate-key\n"
    "AETHERIUM_MASTER_KEY_PREVIOUS_FILE=old.key aetherium secret rotate-key --master",
)
def rotate_key(
    ctx: typer.Context,
    master: Annotated[
        bool,
        typer.Option("--master", help="Only wrap the keys anew, after the setting master_key was replaced."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Replace the key under which the data keys of all secrets are.

    Secrets can be set and used meanwhile. When it was cut, call it again: it goes on.
    """

    async def work(command: Command) -> None:
        done = await command.client.secrets.rotate_key(master=master)
        facts = [
            ("key", done.key_id),
            ("data keys wrapped", str(done.wrapped)),
            ("keys retired", ", ".join(done.retired)),
            ("master key", done.master),
            ("keys wrapped anew", str(done.remastered)),
        ]
        command.output.show(done, lambda _: command.output.facts(facts))

    execute(ctx, work, as_json=as_json)


def _value(name: str, file: Path | None) -> str:
    """The value from where it is. Raises InvalidInput."""
    if file is not None:
        return check_value(secret_from_file(name, file))
    if sys.stdin.isatty():
        return check_value(str(typer.prompt(f"Value of {name}", hide_input=True, err=True)))
    # One byte more than fits shows that there is more, so that endless input is not read to its end.
    data = sys.stdin.buffer.read(LARGEST + len(_LINE_BREAK) + 1)
    try:
        return check_value(data.decode().rstrip(_LINE_BREAK))
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"The value of {name} is not UTF-8.", hint="Encode bytes, for example with base64.", field="value"
        ) from error


def _used(secret: Secret) -> str:
    from aetherium.cli.formats import age

    return age(secret.used_at) if secret.used_at is not None else "-"


def _facts(secret: Secret) -> list[tuple[str, str]]:
    from aetherium.cli.formats import moment

    return [
        ("name", secret.name),
        ("id", secret.id),
        ("scope", secret.scope),
        ("target", secret.target),
        ("version", str(secret.version)),
        ("created", moment(secret.created_at)),
        ("changed", moment(secret.updated_at)),
        ("by", secret.updated_by),
        ("used", "" if secret.used_at is None else moment(secret.used_at)),
    ]
