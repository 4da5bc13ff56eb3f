"""``aetherium certs``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aetherium.cli.options import HELP, Json
from aetherium.cli.runtime import Command, execute
from aetherium.domain.errors import InvalidInput

if TYPE_CHECKING:
    from aetherium.rpc.certificates import Certificates, Facts

app = typer.Typer(
    context_settings=HELP,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    help="TLS between the hosts of a cluster: an authority of its own, and certificates.",
    epilog="Examples:\n\naetherium certs init\naetherium certs issue worker1 --host worker1.example"
    "\naetherium certs show\n\nSee docs/cluster.md.",
)

Directory = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="Where they lie. [default: certs in the data directory]"),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the process; its files are called so.")]
_DAYS = 365


@app.command(epilog="Examples:\n\naetherium certs init\naetherium certs init --dir /etc/aetherium/certs")
def init(
    ctx: typer.Context,
    directory: Directory = None,
    days: Annotated[int, typer.Option("--days", metavar="N", help="How long it is valid.")] = 3650,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make the authority. Its key, ca.key, is needed for nothing but new certificates: keep it apart."""

    async def work(command: Command) -> None:
        made = _certificates(command, directory).init(datetime.now(UTC), days=days, force=force)
        _tell(command, [made], "is the authority")

    execute(ctx, work, as_json=as_json, connect=False)


@app.command(
    epilog="Examples:\n\naetherium certs issue worker1 --host worker1.example --host 10.0.0.7"
    "\naetherium certs issue gateway1 --kind gateway --host api.example"
)
def issue(
    ctx: typer.Context,
    name: Name,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="HOST", help="Name or address at which it is reached; repeatable."),
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help="worker, gateway or client.")
    ] = "worker",
    days: Annotated[int, typer.Option("--days", metavar="N", help="How long it is valid.")] = _DAYS,
    directory: Directory = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a certificate and its key."""

    async def work(command: Command) -> None:
        from aetherium.rpc.authority import Kind

        if kind not in set(Kind):
            raise InvalidInput(f"--kind is {kind!r}.", hint="Use worker, gateway or client.", field="kind")
        made = _certificates(command, directory).issue(
            name, Kind(kind), host or (), datetime.now(UTC), days=days, force=force
        )
        _tell(command, [made], f"is of a {kind}")

    execute(ctx, work, as_json=as_json, connect=False)


@app.command(epilog="Examples:\n\naetherium certs renew worker1\naetherium certs renew worker1 --days 90")
def renew(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of certificates.")],
    days: Annotated[
        int, typer.Option("--days", metavar="N", help="How long they are valid from now on.")
    ] = _DAYS,
    directory: Directory = None,
    as_json: Json = False,
) -> None:
    """Make certificates valid for longer, with the keys that they have. Processes read them by themselves."""

    async def work(command: Command) -> None:
        found = _certificates(command, directory)
        made = [found.renew(name, datetime.now(UTC), days=days) for name in names]
        _tell(command, made, "is renewed")

    execute(ctx, work, as_json=as_json, connect=False)


@app.command(epilog="Examples:\n\naetherium certs show\naetherium certs show --json")
def show(ctx: typer.Context, directory: Directory = None, as_json: Json = False) -> None:
    """All certificates of the directory, with their ends. Exit code 1 if one has expired."""

    async def work(command: Command) -> int:
        found, now = _certificates(command, directory).all(), datetime.now(UTC)
        if command.output.as_json:
            command.output.json([_json(facts, now) for facts in found])
        else:
            command.output.table(
                ("NAME", "KIND", "HOSTS", "VALID UNTIL", "DAYS", "SHA-256"),
                [_row(facts, now) for facts in found],
                empty="There are no certificates. Begin with: aetherium certs init",
            )
        return 1 if any(facts.not_after <= now for facts in found) else 0

    execute(ctx, work, as_json=as_json, connect=False)


def _certificates(command: Command, directory: Path | None) -> Certificates:
    from aetherium.rpc.certificates import Certificates

    return Certificates((directory or command.settings.data_dir / "certs").expanduser().absolute())


def _tell(command: Command, made: Sequence[Facts], what: str) -> None:
    now = datetime.now(UTC)
    lines = [
        f"{facts.path} {what}, valid for {_left(facts, now)} days; its key: {_key(facts)}" for facts in made
    ]
    answer = [_json(facts, now) for facts in made]
    command.output.show(
        answer[0] if len(answer) == 1 else answer,
        lambda console: console.print("\n".join(lines), soft_wrap=True, markup=False),
    )


def _row(facts: Facts, now: datetime) -> tuple[str, ...]:
    from aetherium.cli.formats import moment

    return (
        facts.name,
        facts.kind or "authority",
        " ".join(facts.hosts),
        moment(facts.not_after),
        "expired" if facts.not_after <= now else str(_left(facts, now)),
        facts.fingerprint[:16],
    )


def _json(facts: Facts, now: datetime) -> dict[str, object]:
    return {
        "name": facts.name,
        "kind": facts.kind or "authority",
        "hosts": list(facts.hosts),
        "not_before": facts.not_before.isoformat(),
        "not_after": facts.not_after.isoformat(),
        "days": _left(facts, now),
        "serial": facts.serial,
        "fingerprint": facts.fingerprint,
        "certificate": facts.path,
        "key": _key(facts),
    }


def _left(facts: Facts, now: datetime) -> int:
    return max(0, ceil((facts.not_after - now) / timedelta(days=1)))


def _key(facts: Facts) -> str:
    return str(Path(facts.path).with_suffix(".key"))
