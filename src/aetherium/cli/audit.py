"""``aetherium audit``."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aetherium.cli import options
from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute
from aetherium.domain.errors import InvalidInput

if TYPE_CHECKING:
    from aetherium.domain.audit import AuditEntry, AuditVerification

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="Who did what; and whether anybody has changed the record of it.",
    epilog="Examples:\n\naetherium audit list --action 'secret.*'\naetherium audit verify\n"
    "aetherium audit export -o audit.ndjson\n\nSee docs/audit.md.",
)

_AT_ONCE = 500
_AGO = re.compile(r"[0-9.]+\s*(s|m|h|d|w)")
Time = Annotated[str | None, typer.Option(metavar="TIME", help="2026-12-24T18:00, or 2h: so long ago.")]


@app.command(
    "list",
    epilog="Examples:\n\naetherium audit list --action 'vm.*' --since 1d\n"
    "aetherium audit list --outcome forbidden --limit 10\naetherium audit list --json",
)
def list_(
    ctx: typer.Context,
    actor: Annotated[str | None, typer.Option("--actor", metavar="SUBJECT", help="Who did it.")] = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="ACTION", help="What; 'vm.*': all that begin so.")
    ] = None,
    resource: Annotated[str | None, typer.Option("--resource", metavar="ID", help="To what.")] = None,
    outcome: Annotated[
        str | None, typer.Option("--outcome", metavar="CODE", help="How it ended: ok, or an error's code.")
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", metavar="PROJECT", help="Of this project only.")
    ] = None,
    since: Time = None,
    until: Time = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=10000, help="The newest N.")
    ] = 50,
    as_json: Json = False,
) -> None:
    """Entries, newest first."""

    async def work(command: Command) -> None:
        found = await command.client.audit.list(
            actor=actor,
            action=action,
            resource=resource,
            outcome=outcome,
            project=project,
            since=_time(since, "--since"),
            until=_time(until, "--until"),
            limit=limit,
        )
        if command.output.as_json:
            command.output.json(found)
            return
        command.output.table(
            ("SEQ", "TIME", "ACTOR", "ACTION", "RESOURCE", "OUTCOME", "PROJECT", "FROM"),
            [_row(entry) for entry in found],
            empty="There are no such entries.",
        )

    execute(ctx, work, as_json=as_json)


@app.command(
    epilog="Examples:\n\naetherium audit export -o audit.ndjson\naetherium audit export | gzip > a.gz"
)
def export(
    ctx: typer.Context,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; else standard output.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The whole log as lines of JSON, to be kept elsewhere: `audit verify --file` needs nothing else."""

    async def work(command: Command) -> None:
        from aetherium.client.saving import save

        async with command.client.audit.export() as lines:
            if output is None:
                async for line in lines:
                    command.output.line(line)
                return
            await save(_pieces(lines), output, mode=0o600)
            if command.output.as_json:
                command.output.json({"file": str(output)})

    execute(ctx, work, as_json=as_json)


@app.command(
    epilog="Examples:\n\naetherium audit verify\naetherium audit verify --json > kept.json\n"
    "aetherium audit verify --checkpoint kept.json\n"
    "aetherium audit verify --file audit.ndjson --key $(aetherium audit key)"
)
def verify(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="An export, instead of the platform's log.")
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY", help="With --file: a public key whose signatures are right."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="What was kept: an earlier export, or answer of this with --json.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """See whether anybody has changed, removed or moved an entry. Exit code 1 if so."""
    if keys and file is None:
        raise InvalidInput("--key is for an export.", hint="Add --file FILE.", field="key")

    async def work(command: Command) -> int:
        known = await asyncio.to_thread(_known, checkpoint)
        if file is None:
            found = await command.client.audit.verify(known)
        else:
            found = await asyncio.to_thread(_offline, file, keys or [], known)
            if not keys:
                command.output.warn(
                    "Verified with the key that the file names itself. Give yours with --key."
                )
        _tell(command, found)
        return 0 if found.ok else 1

    execute(ctx, work, as_json=as_json, connect=file is None)


@app.command(epilog="Examples:\n\naetherium audit key")
def key(ctx: typer.Context, as_json: Json = False) -> None:
    """The public key that the log is signed with."""

    async def work(command: Command) -> None:
        found = await command.client.audit.key()
        command.output.show({"key": found}, lambda console: console.print(found))

    execute(ctx, work, as_json=as_json)


def _row(entry: AuditEntry) -> tuple[str, ...]:
    from aetherium.cli.formats import moment, safe

    event = entry.event
    cells = (event.actor, event.action, event.resource, event.outcome, event.project_id or "", event.address)
    return (str(entry.seq), moment(entry.at), *(safe(cell) for cell in cells))


def _known(path: Path | None) -> Mapping[int, str]:
    from aetherium.bootstrap.audit import known_of

    return {} if path is None else known_of(path)


def _offline(path: Path, keys: list[str], known: Mapping[int, str]) -> AuditVerification:
    from aetherium.bootstrap.audit import verify_export

    return verify_export(path, keys, known)


def _tell(command: Command, found: AuditVerification) -> None:
    if command.output.as_json:
        command.output.json(found)
        return
    command.output.table(
        ("SEQ", "WHAT", "FINDING"),
        [(str(each.seq), str(each.kind), each.what) for each in found.findings],
        empty="",
    )
    entries = f"{found.entries} entries and {found.checkpoints} checkpoints"
    if found.ok:
        end = "" if found.head is None else f"; the end is {found.head.seq}:{found.head.hash}"
        command.output.out.print(f"{entries} are as they were written{end}", markup=False, soft_wrap=True)
    elif not found.complete:
        command.output.warn(f"Only {entries} were looked at.")


async def _pieces(lines: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    """The lines as text, some hundred at once."""
    some: list[bytes] = []
    async for line in lines:
        some.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        if len(some) == _AT_ONCE:
            yield b"".join(some)
            some.clear()
    yield b"".join(some)


def _time(text: str | None, field: str) -> datetime | None:
    """A moment, or how long ago it was. Raises InvalidInput."""
    if text is None:
        return None
    if _AGO.fullmatch(text.strip()):
        return datetime.now(UTC) - timedelta(seconds=options.seconds(text, field))
    return options.moment(text, field)
