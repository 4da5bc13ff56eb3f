"""``aetherium api-key``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli import options
from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute
from aetherium.domain.identity import Role

if TYPE_CHECKING:
    from aetherium.client.api_keys import IssuedKey
    from aetherium.domain.identity import APIKey

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Keys for programs: create, list, show, rotate, revoke.",
    epilog="Examples:\n\naetherium api-key create ci --scope 'jobs:*' --expires 90d\naetherium api-key list",
)

Ref = Annotated[str, typer.Argument(metavar="KEY", help="Id, name, or the key's prefix (aek_…).")]


@app.command(
    epilog="Examples:\n\naetherium api-key create ci\n"
    "aetherium api-key create ci --project web --role viewer --expires 90d\n"
    "aetherium api-key create bot --scope 'jobs:*' --scope tasks:read\n"
    "aetherium api-key create ops --installation"
)
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    project: Annotated[
        str, typer.Option("--project", metavar="PROJECT", help="Id or name. [default: one's own]")
    ] = "",
    installation: Annotated[
        bool, typer.Option("--installation", help="For everything, in all projects, instead.")
    ] = False,
    role: Annotated[Role | None, typer.Option("--role", help="[default: operator]")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="SCOPE", help="Narrows the role: 'jobs:*', '*:read', vms:write …"),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="It is valid for so long: 90d, 12h …")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a key and print it, this once."""
    expires_in_s = None if expires is None else options.seconds(expires, "--expires")

    async def work(command: Command) -> None:
        made = await command.client.api_keys.create(
            name,
            project=project,
            installation=installation,
            role=role,
            scopes=scope,
            expires_in_s=expires_in_s,
        )
        _show(command, made)

    execute(ctx, work, as_json=as_json)


@app.command("list", epilog="Examples:\n\naetherium api-key list\naetherium api-key list --json")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """All keys, newest first; what is known of them, not the keys."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import age

        found = await command.client.api_keys.list()
        if command.output.as_json:
            command.output.json(found)
            return
        command.output.table(
            ("ID", "NAME", "PREFIX", "PROJECT", "ROLE", "SCOPES", "STATE", "USED", "AGE"),
            [
                (
                    key.id,
                    key.name,
                    key.prefix,
                    key.project_id or "-",
                    str(key.role),
                    _scopes(key),
                    _state(key),
                    age(key.used_at),
                    age(key.created_at),
                )
                for key in found
            ],
            empty="There are no keys. Create one: aetherium api-key create NAME",
        )

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium api-key show ci\naetherium api-key show aek_k3j9q2w8")
def show(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """All that is known of a key."""

    async def work(command: Command) -> None:
        from aetherium.cli.formats import moment

        key = await command.client.api_keys.get(ref)
        facts = [
            ("id", key.id),
            ("name", key.name),
            ("prefix", key.prefix),
            ("project", key.project_id or "all"),
            ("role", str(key.role)),
            ("scopes", _scopes(key)),
            ("state", _state(key)),
            ("created", f"{moment(key.created_at)} by {key.created_by}"),
            ("expires", moment(key.expires_at)),
            ("used", moment(key.used_at)),
            ("revoked", moment(key.revoked_at)),
        ]
        command.output.show(key, lambda _: command.output.facts(facts))

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Examples:\n\naetherium api-key rotate ci\naetherium api-key rotate ci --grace 0")
def rotate(
    ctx: typer.Context,
    ref: Ref,
    grace: Annotated[
        str, typer.Option("--grace", metavar="TIME", help="The old key is valid for so long yet.")
    ] = "1d",
    as_json: Json = False,
) -> None:
    """Make another key that may do the same, and print it, this once."""
    grace_s = options.seconds(grace, "--grace")

    async def work(command: Command) -> None:
        _show(command, await command.client.api_keys.rotate(ref, grace_s=grace_s))

    execute(ctx, work, as_json=as_json)


@app.command(epilog="Example:\n\naetherium api-key revoke ci")
def revoke(ctx: typer.Context, ref: Ref, as_json: Json = False) -> None:
    """Revoke a key: within 5 seconds it is valid nowhere any more."""

    async def work(command: Command) -> None:
        key = await command.client.api_keys.revoke(ref)
        command.output.show(key, lambda console: console.print(f"{key.prefix}… is revoked.", markup=False))

    execute(ctx, work, as_json=as_json)


def _show(command: Command, made: IssuedKey) -> None:
    def people(_: object) -> None:
        print(made.secret)
        command.output.note("Keep it: it is not shown again.")

    command.output.show(made, people)


def _scopes(key: APIKey) -> str:
    return "" if key.scopes is None else ", ".join(sorted(key.scopes)) or "none"


def _state(key: APIKey) -> str:
    from datetime import UTC, datetime

    if key.revoked_at is not None:
        return "revoked"
    expired = key.expires_at is not None and key.expires_at <= datetime.now(UTC)
    return "expired" if expired else "active"
